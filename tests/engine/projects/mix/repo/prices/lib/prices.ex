defmodule Prices do
  def of(:tea), do: 3
end
