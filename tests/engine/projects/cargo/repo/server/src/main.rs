use std::io::{Read, Write};
use std::net::TcpListener;

fn main() {
    let listener = TcpListener::bind("0.0.0.0:8080").expect("port 8080 is free");
    for (number, stream) in listener.incoming().enumerate() {
        let mut stream = match stream {
            Ok(stream) => stream,
            Err(_) => continue,
        };
        let mut request = [0u8; 1024];
        let _ = stream.read(&mut request);
        let mut digits = itoa::Buffer::new();
        let body = pages::page(env!("GREETING"), digits.format(number));
        let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.len(), body);
    }
}
