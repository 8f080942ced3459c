#!/bin/sh
# httpd calls it for "/", as there is no index.html.
printf 'Content-Type: text/plain\r\n\r\n'
echo "Hello $NAME!"
echo "Hostname: $(hostname)"
echo "Your address: $REMOTE_ADDR"
