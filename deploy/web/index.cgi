#!/bin/sh
# httpd calls it for "/", as there is no index.html.
echo "GET / from $REMOTE_ADDR" >&2
printf 'Content-Type: text/plain\r\n\r\n'
echo "Hello $NAME!"
echo "Hostname: $(hostname)"
echo "Your address: $REMOTE_ADDR"
