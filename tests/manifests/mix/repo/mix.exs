defp deps do
  [{:local, path: "../local"}, {:own, path: "deps_local/own"}]
end
