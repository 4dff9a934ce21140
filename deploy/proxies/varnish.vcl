# /etc/varnish/default.vcl, with Varnish 7. It speaks neither TLS nor HTTP/2 with the gateway, so
# gRPC cannot pass: clients of gRPC connect to the gateway itself, or to one of the other proxies.
# Start varnishd with `-p pipe_timeout=150`: a connection that is piped is closed after 60 s
# without a byte otherwise, and publishers may pause.
vcl 4.1;

backend vidette {
  .host = "127.0.0.1";
  .port = "8080";
  .connect_timeout = 2s;
  # Above the longest wait of a poll, 120 s.
  .first_byte_timeout = 150s;
  .between_bytes_timeout = 150s;
}

sub vcl_recv {
  # The gateway limits each client by its address. Varnish has added it to X-Forwarded-For.
  unset req.http.Forwarded;
  # Or https, where something before Varnish takes TLS off.
  set req.http.X-Forwarded-Proto = "http";

  # Bytes go through in both directions as they come: event streams, and streams of publishers.
  if (req.url ~ "^/v1/sse" || req.method == "POST") {
    return (pipe);
  }
  # Nothing is kept: an answer is for one reader at one time.
  return (pass);
}

sub vcl_pipe {
  # The next request comes on another connection, and through vcl_recv.
  set bereq.http.Connection = "close";
}
