require "sums"
require "webrick"

server = WEBrick::HTTPServer.new(Port: 9292, BindAddress: "0.0.0.0")
server.mount_proc("/") { |_, response| response.body = "forty-two is #{Sums.add(40, 2)}\n" }
trap("TERM") { server.shutdown }
server.start
