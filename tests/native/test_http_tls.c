/* The HTTP client over TLS, with authorities made by openssl for this run: whom it trusts, and what it says of those it does not. */
#include "fetching.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char *folder;

static const char *file(const char *name)
{
    return scratch_path(folder, name);
}

/* openssl with these words, its talk thrown away. */
static void openssl(const char *const words[])
{
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        execvp("openssl", (char *const *)(uintptr_t)words);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("openssl %s failed", words[1]);
}

static void make_authority(const char *name)
{
    char key[40], certificate[40];
    snprintf(key, sizeof key, "%s.key", name);
    snprintf(certificate, sizeof certificate, "%s.pem", name);
    openssl((const char *[]){"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                             "-subj", "/CN=A test authority", "-keyout", file(key), "-out", file(certificate), NULL});
}

/* NAME.pem and NAME.key, signed by AUTHORITY, for `names` ("DNS:..., IP:..."), good for `days` from now. */
static void make_certificate(const char *name, const char *authority, const char *names, const char *days)
{
    char key[40], request[40], certificate[40], extensions[40], text[200], ca[40], ca_key[40];
    snprintf(key, sizeof key, "%s.key", name);
    snprintf(request, sizeof request, "%s.csr", name);
    snprintf(certificate, sizeof certificate, "%s.pem", name);
    snprintf(extensions, sizeof extensions, "%s.ext", name);
    snprintf(ca, sizeof ca, "%s.pem", authority);
    snprintf(ca_key, sizeof ca_key, "%s.key", authority);
    snprintf(text, sizeof text, "subjectAltName=%s\n", names);
    scratch_write(folder, extensions, text, 0600);
    openssl((const char *[]){"openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=server",
                             "-keyout", file(key), "-out", file(request), NULL});
    openssl((const char *[]){"openssl", "x509", "-req", "-in", file(request), "-CA", file(ca), "-CAkey", file(ca_key), "-CAcreateserial",
                             "-extfile", file(extensions), "-days", days, "-out", file(certificate), NULL});
}

static void trusts_what_the_authority_signed(void **unused)
{
    (void)unused;
    spec.ca_file = file("ca.pem");
    run(at_port("https://127.0.0.1", "good", "/status/200?body=safe"));
    assert_answer(200, "safe");
    run(at_port("https://127.0.0.1", "good", "/count"));
    assert_true(fetch.reused);
    assert_non_null(strstr(body_text(), "request 2"));
    run(at_port("https://localhost", "good", "/status/200?body=safe"));
    assert_answer(200, "safe");
}

static void refuses_another_name(void **unused)
{
    (void)unused;
    spec.ca_file = file("ca.pem");
    run(at_port("https://127.0.0.1", "other", "/echo?secret"));
    assert_failure(HTTP_TLS, "https://127.0.0.1:", "its certificate is for another name", "ask for the name it has", NULL);
    assert_null(strstr(fetch.err.text, "secret"));
    assert_int_equal(fetch.status, 0);
    assert_false(http_failure_is_transient(fetch.failure));
}

static void refuses_an_unknown_authority(void **unused)
{
    (void)unused;
    spec.ca_file = file("stranger.pem");
    run(at_port("https://127.0.0.1", "good", "/echo"));
    assert_failure(HTTP_TLS, "signed by no authority in ", "stranger.pem", "add the authority to it", NULL);
    spec.ca_file = NULL;
    run(at_port("https://127.0.0.1", "good", "/echo"));
    assert_failure(HTTP_TLS, "signed by no authority in the system's bundle", NULL);
    assert_int_equal(fetch.status, 0);
}

/* A connection that was verified with one bundle must not serve who trusts another. */
static void does_not_share_a_connection_between_bundles(void **unused)
{
    (void)unused;
    spec.ca_file = file("ca.pem");
    run(at_port("https://127.0.0.1", "good", "/count"));
    assert_int_equal(fetch.status, 200);
    spec.ca_file = file("stranger.pem");
    run(at_port("https://127.0.0.1", "good", "/count"));
    assert_failure(HTTP_TLS, "signed by no authority", NULL);
}

static void refuses_a_certificate_that_has_expired(void **unused)
{
    (void)unused;
    spec.ca_file = file("ca.pem");
    run(at_port("https://127.0.0.1", "old", "/echo"));
    assert_failure(HTTP_TLS, "is not valid now", "clock", NULL);
}

static void says_that_a_bundle_is_not_there(void **unused)
{
    (void)unused;
    spec.ca_file = file("missing.pem");
    run(at_port("https://127.0.0.1", "good", "/echo"));
    assert_failure(HTTP_TLS, "the bundle of authorities", "missing.pem", "ca-certificates", NULL);
}

static void says_that_no_tls_is_spoken(void **unused)
{
    (void)unused;
    run(at_port("https://127.0.0.1", "plain", "/echo"));
    assert_failure(HTTP_TLS, "does not speak TLS", "use http://", NULL);
    run(at_port("http://127.0.0.1", "good", "/echo"));
    assert_true(fetch.failure == HTTP_RESET || fetch.failure == HTTP_PROTOCOL);
}

/* The kernel takes the connection, and nobody ever answers on it. */
static void tells_a_silent_handshake(void **unused)
{
    (void)unused;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 8), 0);
    getsockname(fd, (struct sockaddr *)&address, &size);
    char url[60];
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", ntohs(address.sin_port));
    spec.connect_ms = 200;
    run(url);
    assert_failure(HTTP_CONNECT_TIMEOUT, "took the connection, but the TLS handshake was not over within 0.2 s", NULL);
    spec.deadline_ms = 100;
    run(url);
    assert_failure(HTTP_DEADLINE, "the TLS handshake was not over", NULL);
    close(fd);
}

static void tells_a_truncated_answer(void **unused)
{
    (void)unused;
    spec.ca_file = file("ca.pem");
    run(at_port("https://127.0.0.1", "good", "/cut/700?announce=1000"));
    assert_failure(HTTP_TRUNCATED, "after 700 of 1000 bytes", NULL);
}

static void carries_large_bodies_both_ways(void **unused)
{
    (void)unused;
    static char block[2 << 20];
    spec.ca_file = file("ca.pem");
    spec.ceiling = 4 << 20;
    run(at_port("https://127.0.0.1", "good", "/bytes/3000000"));
    assert_int_equal(fetch.failure, HTTP_OK);
    assert_true(is_pattern(fetch.body.data, fetch.body.length, 0) && fetch.body.length == 3000000);
    spec.method = "PUT";
    spec.body = (struct http_body){.kind = HTTP_FROM_MEMORY, .data = block, .length = sizeof block};
    run(at_port("https://127.0.0.1", "good", "/digest"));
    assert_int_equal(strncmp(body_text(), "2097152 ", 8), 0);
}

static size_t pauses, taken;
static bool pausing;

static ssize_t pause_and_take(struct http_fetch *f, const char *data, size_t length)
{
    (void)f;
    if (pausing) {
        pauses++;
        return HTTP_PAUSE;
    }
    assert_true(is_pattern(data, length, taken));
    taken += length;
    return (ssize_t)length;
}

/* TLS keeps bytes of its own, which no event of the socket tells of. */
static void waits_for_a_paused_sink_without_turning(void **unused)
{
    (void)unused;
    pauses = taken = 0;
    pausing = true;
    spec.push = pause_and_take;
    spec.ca_file = file("ca.pem");
    start(&fetch, at_port("https://127.0.0.1", "good", "/bytes/3000000"));
    TURN_UNTIL(loop, pauses);
    int64_t until = clock_ns() + 150 * NS_PER_MS;
    int turns = 0;
    for (; clock_ns() < until; turns++)
        loop_turn(loop, until, NULL);
    assert_true(turns < 10);
    assert_int_equal(pauses, 1);
    pausing = false;
    http_fetch_resume(&fetch);
    TURN_UNTIL(loop, ended);
    assert_int_equal(fetch.failure, HTTP_OK);
    assert_int_equal(taken, 3000000);
}

static void can_be_stopped_in_the_handshake(void **unused)
{
    (void)unused;
    spec.ca_file = file("ca.pem");
    for (int turns = 0; turns < 12; turns++) {
        start(&fetch, at_port("https://127.0.0.1", "good", "/slow/100000"));
        for (int i = 0; i < turns; i++)
            loop_turn(loop, clock_ns() + NS_PER_MS, NULL);
        http_fetch_stop(&fetch);
        assert_int_equal(http_fetch_count(), 0);
    }
    assert_int_equal(ended, 0);
}

static int server_start(void **unused)
{
    (void)unused;
    folder = scratch_new();
    make_authority("ca");
    make_authority("stranger");
    make_certificate("good", "ca", "IP:127.0.0.1,DNS:localhost", "2");
    make_certificate("other", "ca", "DNS:bucket.example", "2");
    make_certificate("old", "ca", "IP:127.0.0.1", "-1");
    char paths[6][200];
    static const char *const names[] = {"good", "other", "old"};
    const char *arguments[13] = {0};
    for (int i = 0; i < 3; i++) {
        snprintf(paths[2 * i], sizeof paths[0], "%s/%s.pem", folder, names[i]);
        snprintf(paths[2 * i + 1], sizeof paths[0], "%s/%s.key", folder, names[i]);
        arguments[4 * i] = "--tls";
        arguments[4 * i + 1] = names[i];
        arguments[4 * i + 2] = paths[2 * i];
        arguments[4 * i + 3] = paths[2 * i + 1];
    }
    faults_start(&faults, arguments);
    return 0;
}

static int server_stop(void **unused)
{
    (void)unused;
    faults_stop(&faults);
    scratch_free(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(trusts_what_the_authority_signed),
        TEST(refuses_another_name),
        TEST(refuses_an_unknown_authority),
        TEST(does_not_share_a_connection_between_bundles),
        TEST(refuses_a_certificate_that_has_expired),
        TEST(says_that_a_bundle_is_not_there),
        TEST(says_that_no_tls_is_spoken),
        TEST(tells_a_silent_handshake),
        TEST(tells_a_truncated_answer),
        TEST(carries_large_bodies_both_ways),
        TEST(waits_for_a_paused_sink_without_turning),
        TEST(can_be_stopped_in_the_handshake),
    };
    return cmocka_run_group_tests(tests, server_start, server_stop);
}
