defmodule Shop.MixProject do
  use Mix.Project

  def project do
    [app: :shop, version: "0.1.0", elixir: "~> 1.14", deps: [{:prices, path: "prices"}]]
  end

  def application do
    [mod: {Shop, []}, extra_applications: [:logger]]
  end
end
