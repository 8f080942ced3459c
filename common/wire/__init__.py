"""The protocol between managers and workers.

Layers, bottom up: `messages` (what can be said) and `allowances` (how much of it), `codec` (message to bytes), `frames`
(bytes to messages, sans I/O), `handshake` (who may say what first, sans I/O), `channel` (the contract of a connection),
`stream` (it over TLS), `memory` (it in memory), `server` (`serve` and `dial`), `admission` (whom it lets in), `client`
(what a worker does: join, session, stream). `token` reads join tokens.

A worker joins, and keeps what it got:

    membership = await join(host, port, token, JoinTerms(hostname=…), clock)          # common.wire.client
    files = CredentialFiles(data_dir / "certificates")                                # common.tls
    files.write(membership.certificate, membership.key, membership.root_certificate)

It opens a session; everything after it is `send` and `receive`:

    channel, welcome = await open_session(host, port, client_context(files), Hello(protocol=PROTOCOL_VERSION, …))
    try:
        await channel.send(Heartbeat())                       # every welcome.heartbeat seconds
        request_id, message = await channel.receive()         # Assignments, RegistryAuth, OpenStream, …Ack
        await channel.send(StatusReport(tasks=…), request_id=7)   # answered by StatusAck with id 7, after the commit
    finally:
        await channel.close()

`receive` raises `ChannelClosed` (an `Unavailable`) when the connection is gone and `ProtocolError` when the peer broke
the protocol. A manager's answer that refuses is raised by `join` and `open_session` as the `SwarmError` that it was
there; in a session it comes as a `Refused` message (`handshake.error_of_refusal` makes the error).

To an `OpenStream` a worker answers with a connection of its own:

    channel = await dial_stream(host, port, client_context(files), message.stream_id)
    transport = channel.detach(protocol)                      # any asyncio.Protocol; `connection_made` is called
    reader, writer = open_raw(channel)                        # or this instead (common.wire.channel)

To renew its certificate it sends `RenewRequest(csr=certificate_request(key))` over the session at `tls.renewal_time`.

Tests and simulations take both ends of `memory_channel_pair()`; `drop()` on either breaks the connection.
"""
