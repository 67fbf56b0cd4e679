defmodule Shop do
  use Application

  def start(_type, _args) do
    {:ok, socket} = :gen_tcp.listen(4000, [:binary, active: false, reuseaddr: true])
    Task.start_link(fn -> accept(socket) end)
  end

  defp accept(socket) do
    {:ok, client} = :gen_tcp.accept(socket)
    {:ok, _request} = :gen_tcp.recv(client, 0)
    body = "tea costs #{Prices.of(:tea)}\n"
    :gen_tcp.send(client, "HTTP/1.0 200 OK\r\nContent-Length: #{byte_size(body)}\r\n\r\n#{body}")
    :gen_tcp.close(client)
    accept(socket)
  end
end
