/* The lab's web server: says who answers and who asked, and misbehaves when told to.
 *
 * One static program without dependencies, so that an image can be made of it without any registry. A thread for each
 * connection, keep-alive, UDP echo on the same port number, and a graceful end on SIGTERM: what is open is answered
 * (with "Connection: close"), nothing new is accepted. The paths and the environment variables are in docs/lab.md.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 8192, CHUNK = 65536, TICK_MS = 50, IDLE_STOP_MS = 500, STACK = 256 * 1024 };

static atomic_int stopping, sick, open_connections;
static int delay_ms;
static char hostname[256];

struct request {
    char method[16], path[1024];
    long body;
    int keep;
};

struct connection {
    int fd;
    char client[INET6_ADDRSTRLEN];
    int port;
    char buffer[HEAD_MAX + 1];
    size_t have;
};

static long number_from(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 10) : otherwise;
}

static void pause_ms(long ms)
{
    struct timespec left = {ms / 1000, (ms % 1000) * 1000000};
    while (ms > 0 && nanosleep(&left, &left) && errno == EINTR) {
    }
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int send_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return 0;
        data += sent;
        size -= (size_t)sent;
    }
    return 1;
}

/* Wait for bytes. 0: the peer is gone, or the server stops and the connection has been idle for long enough. */
static int wait_readable(int fd, int idle)
{
    for (int waited = 0;;) {
        struct pollfd one = {fd, POLLIN, 0};
        int got = poll(&one, 1, TICK_MS);
        if (got > 0)
            return 1;
        if (got < 0 && errno != EINTR)
            return 0;
        waited = stopping && idle ? waited + TICK_MS : 0;
        if (waited >= IDLE_STOP_MS)
            return 0;
    }
}

static int fill(struct connection *c)
{
    ssize_t got;
    if (c->have >= HEAD_MAX || !wait_readable(c->fd, c->have == 0))
        return 0;
    do
        got = recv(c->fd, c->buffer + c->have, HEAD_MAX - c->have, 0);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return 0;
    c->have += (size_t)got;
    c->buffer[c->have] = 0;
    return 1;
}

static int read_head(struct connection *c, struct request *r)
{
    char *end, version[16] = "";
    while (!(c->have && (end = strstr(c->buffer, "\r\n\r\n"))))
        if (!fill(c))
            return 0;
    *end = 0;
    if (sscanf(c->buffer, "%15s %1023s %15s", r->method, r->path, version) != 3)
        return 0;
    char *length = strcasestr(c->buffer, "\r\ncontent-length:");
    char *connection = strcasestr(c->buffer, "\r\nconnection:");
    r->body = length ? strtol(length + 17, NULL, 10) : 0;
    r->keep = strcmp(version, "HTTP/1.0") != 0;
    if (connection) {
        connection += 13;
        r->keep = strncasecmp(connection + strspn(connection, " "), "close", 5) != 0;
    }
    size_t used = (size_t)(end + 4 - c->buffer);
    memmove(c->buffer, c->buffer + used, c->have - used + 1);
    c->have -= used;
    return r->body >= 0;
}

static int skip_body(struct connection *c, long left)
{
    while (left > 0) {
        long take = left < (long)c->have ? left : (long)c->have;
        memmove(c->buffer, c->buffer + take, c->have - (size_t)take + 1);
        c->have -= (size_t)take;
        left -= take;
        if (left > 0 && !fill(c))
            return 0;
    }
    return 1;
}

static int answer(struct connection *c, int status, const char *body, size_t size, int keep)
{
    char head[256];
    int length = snprintf(head, sizeof head,
                          "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: %s\r\n\r\n",
                          status, status == 200 ? "OK" : "Unavailable", size, keep ? "keep-alive" : "close");
    if (size > sizeof head * 4)
        return send_all(c->fd, head, (size_t)length) && send_all(c->fd, body, size);
    char whole[sizeof head * 5 + 1];
    memcpy(whole, head, (size_t)length);
    memcpy(whole + length, body, size);
    return send_all(c->fd, whole, (size_t)length + size);
}

static int answer_bytes(struct connection *c, long size, int keep)
{
    static const char zeros[CHUNK];
    char head[160];
    int length = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %ld\r\nConnection: %s\r\n\r\n", size,
                          keep ? "keep-alive" : "close");
    if (!send_all(c->fd, head, (size_t)length))
        return 0;
    for (; size > 0; size -= CHUNK)
        if (!send_all(c->fd, zeros, size < CHUNK ? (size_t)size : CHUNK))
            return 0;
    return 1;
}

static int answer_self(struct connection *c, const struct request *r, int keep)
{
    char path[sizeof r->path], body[1400];
    size_t n = 0;
    for (const char *p = r->path; *p; p++)
        if (*p != '"' && *p != '\\' && (unsigned char)*p >= ' ')
            path[n++] = *p;
    path[n] = 0;
    int size = snprintf(body, sizeof body,
                        "{\"host\": \"%s\", \"client\": \"%s\", \"port\": %d, \"path\": \"%s\", \"body\": %ld}\n",
                        hostname, c->client, c->port, path, r->body);
    return answer(c, 200, body, (size_t)size < sizeof body ? (size_t)size : sizeof body - 1, keep);
}

static int respond(struct connection *c, const struct request *r)
{
    int keep = r->keep && !stopping;
    pause_ms(delay_ms);
    if (!strncmp(r->path, "/bytes/", 7))
        return answer_bytes(c, strtol(r->path + 7, NULL, 10), keep) && keep;
    if (!strncmp(r->path, "/delay/", 7))
        pause_ms(strtol(r->path + 7, NULL, 10));
    if (!strcmp(r->path, "/sick") || !strcmp(r->path, "/well"))
        sick = r->path[1] == 's';
    if (!strcmp(r->path, "/health"))
        return answer(c, sick ? 503 : 200, sick ? "sick\n" : "well\n", 5, keep) && keep;
    keep = answer_self(c, r, keep && !stopping) && keep;
    if (!strncmp(r->path, "/exit/", 6)) {
        shutdown(c->fd, SHUT_WR);
        _exit((int)strtol(r->path + 6, NULL, 10));
    }
    return keep;
}

static void *serve(void *argument)
{
    struct connection *c = argument;
    struct request r;
    while (read_head(c, &r) && skip_body(c, r.body) && respond(c, &r)) {
    }
    close(c->fd);
    free(c);
    open_connections--;
    return NULL;
}

static void name_client(struct connection *c, const struct sockaddr_in6 *from)
{
    inet_ntop(AF_INET6, &from->sin6_addr, c->client, sizeof c->client);
    if (!strncmp(c->client, "::ffff:", 7))
        memmove(c->client, c->client + 7, strlen(c->client + 7) + 1);
    c->port = ntohs(from->sin6_port);
}

static void start_thread(void *(*work)(void *), void *argument)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, work, argument))
        die("pthread_create");
    pthread_attr_destroy(&attributes);
}

/* Accept until told to stop, then what the kernel has completed already, so that no client is reset. */
static void *accept_all(void *argument)
{
    int listener = *(int *)argument;
    for (;;) {
        struct sockaddr_in6 from;
        socklen_t size = sizeof from;
        struct pollfd one = {listener, POLLIN, 0};
        if (poll(&one, 1, stopping ? 0 : TICK_MS) <= 0) {
            if (stopping)
                break;
            continue;
        }
        int fd = accept4(listener, (struct sockaddr *)&from, &size, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *c = calloc(1, sizeof *c);
        if (!c)
            die("calloc");
        c->fd = fd;
        name_client(c, &from);
        open_connections++;
        start_thread(serve, c);
    }
    close(listener);
    open_connections--;
    return NULL;
}

static void *echo_datagrams(void *argument)
{
    int fd = *(int *)argument;
    char in[2048], out[4096];
    for (;;) {
        struct sockaddr_in6 from;
        socklen_t size = sizeof from;
        ssize_t got = recvfrom(fd, in, sizeof in, 0, (struct sockaddr *)&from, &size);
        if (got < 0)
            continue;
        struct connection c;
        name_client(&c, &from);
        int length = snprintf(out, sizeof out, "%s %s %d ", hostname, c.client, c.port);
        memcpy(out + length, in, (size_t)got);
        sendto(fd, out, (size_t)(length + got), 0, (struct sockaddr *)&from, size);
    }
    return NULL;
}

static int bound(int type, int port)
{
    int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0), on = 1, off = 0;
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, (struct sockaddr *)&any, sizeof any) || (type == SOCK_STREAM && listen(fd, 1024)))
        die("bind or listen");
    return fd;
}

/* The image's health check: "web check" asks the server in the same container. */
static int check(int port)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    char text[64] = "";
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&here, sizeof here))
        return 1;
    if (!send_all(fd, "GET /health HTTP/1.0\r\n\r\n", 24) || recv(fd, text, sizeof text - 1, MSG_WAITALL) <= 0)
        return 1;
    return strstr(text, " 200 ") ? 0 : 1;
}

static void *exit_later(void *argument)
{
    pause_ms(*(long *)argument);
    _exit((int)number_from("WEB_EXIT_CODE", 1));
}

static void *sicken_later(void *argument)
{
    pause_ms(*(long *)argument);
    sick = 1;
    return NULL;
}

static void wait_for_term(const sigset_t *signals)
{
    int signal_number;
    do
        sigwait(signals, &signal_number);
    while (signal_number == SIGTERM && number_from("WEB_IGNORE_TERM", 0));
}

int main(int argc, char **argv)
{
    static long exit_after, sick_after;
    static int listener, datagrams;
    int port = (int)number_from("WEB_PORT", 80);
    sigset_t signals;

    if (argc > 1 && !strcmp(argv[1], "check"))
        return check(port);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    gethostname(hostname, sizeof hostname - 1);
    delay_ms = (int)number_from("WEB_DELAY_MS", 0);
    sick = number_from("WEB_SICK", 0) != 0;
    if ((exit_after = number_from("WEB_EXIT_AFTER_MS", -1)) >= 0)
        start_thread(exit_later, &exit_after);
    if ((sick_after = number_from("WEB_SICK_AFTER_MS", -1)) >= 0)
        start_thread(sicken_later, &sick_after);
    pause_ms(number_from("WEB_START_DELAY_MS", 0));

    listener = bound(SOCK_STREAM, port);
    datagrams = bound(SOCK_DGRAM, port);
    open_connections = 1; /* the listener counts as one, until it is closed */
    start_thread(accept_all, &listener);
    start_thread(echo_datagrams, &datagrams);
    printf("%s serves port %d\n", hostname, port);
    fflush(stdout);

    wait_for_term(&signals);
    printf("%s stops\n", hostname);
    fflush(stdout);
    stopping = 1;
    for (long left = number_from("WEB_STOP_MS", 9000); left > 0 && open_connections; left -= 10)
        pause_ms(10);
    return 0;
}
