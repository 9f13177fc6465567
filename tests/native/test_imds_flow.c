/* The instance's metadata service over real sockets: the token that all share, and each way in which it can go wrong, told in words. */
#include "giving.h"

#include "appliance/aws_host.h"
#include "appliance/imds.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MANY = 30 };

static struct imds *imds;
static struct imds_settings settings;
static struct imds_get gets[MANY];
static int ended;

static void on_done(struct imds_get *get)
{
    (void)get;
    ended++;
}

static int begin(void **state)
{
    giving_begin(state);
    settings = (struct imds_settings){.connect_ms = 5000, .first_byte_ms = 5000, .tries = 4, .budget_ms = 15000};
    snprintf(settings.endpoint, sizeof settings.endpoint, "%s", giver_at(""));
    imds = imds_open(loop, NULL);
    imds_configure(imds, &settings, NULL);
    memset(gets, 0, sizeof gets);
    ended = 0;
    return 0;
}

static int end(void **state)
{
    for (int i = 0; i < MANY; i++)
        imds_get_stop(&gets[i]);
    imds_close(imds);
    return giving_end(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static struct imds_get *ask(const char *path)
{
    imds_get_stop(&gets[0]);
    imds_configure(imds, &settings, NULL);
    ended = 0;
    assert_true(imds_get_start(&gets[0], imds, path, on_done, NULL));
    assert_int_equal(ended, 0);
    TURN_UNTIL(loop, ended);
    return &gets[0];
}

/* Asks for the role's credentials in vain. */
static void assert_fails(enum err_kind kind, const char *words)
{
    struct imds_get *get = ask(NULL);
    assert_false(get->ok);
    assert_says(get->err.text, words);
    assert_int_equal(get->err.kind, kind);
    assert_says(get->err.text, "IMDS at http://127.0.0.1:");
}

static void gives_the_roles_credentials(void **unused)
{
    (void)unused;
    struct imds_get *get = ask(NULL);
    assert_true(get->ok);
    assert_string_equal(get->role, "spark-node");
    assert_string_equal(get->keys.access_key_id, "ASIAIMD0001");
    assert_string_equal(get->keys.secret_access_key, "secret-0001");
    assert_string_equal(get->keys.session_token, "token-0001");
    assert_true(get->keys.expires_wall_ms > clock_wall_ms() + 21000 * 1000);
    assert_int_equal(giver_count("token"), 1);
    assert_int_equal(giver_count("roles"), 1);
    assert_int_equal(giver_count("document"), 1);
}

static void gives_any_path(void **unused)
{
    (void)unused;
    struct imds_get *get = ask("/latest/meta-data/placement/region");
    assert_true(get->ok);
    assert_int_equal(get->text.length, strlen("eu-west-1"));
    assert_memory_equal(get->text.data, "eu-west-1", get->text.length);
    get = ask("/latest/meta-data/spot/instance-action");
    assert_false(get->ok);
    assert_int_equal(get->err.kind, ERR_MISSING);
    assert_int_equal(get->err.code, 404);
    giver_script("{'spot':{'action':'terminate'}}");
    assert_true(ask("/latest/meta-data/spot/instance-action")->ok);
    assert_int_equal(giver_count("token"), 1);
}

static void asks_for_one_token_however_many_ask(void **unused)
{
    (void)unused;
    for (int i = 0; i < MANY; i++)
        assert_true(imds_get_start(&gets[i], imds, i % 2 ? NULL : "/latest/meta-data/placement/region", on_done, NULL));
    TURN_UNTIL(loop, ended == MANY);
    for (int i = 0; i < MANY; i++)
        assert_true(gets[i].ok);
    assert_int_equal(giver_count("token"), 1);
}

static void lets_the_next_one_ask_when_the_asker_of_the_token_is_stopped(void **unused)
{
    (void)unused;
    giver_script("{'token':['silent','ok']}");
    for (int i = 0; i < MANY; i++)
        assert_true(imds_get_start(&gets[i], imds, NULL, on_done, NULL));
    int asking = -1;
    TURN_UNTIL(loop, gets[0].parked || gets[1].parked);
    for (int i = 0; i < MANY; i++)
        if (!gets[i].parked && asking < 0)
            asking = i;
    TURN_UNTIL(loop, giver_count("token") == 1);
    imds_get_stop(&gets[asking]);
    TURN_UNTIL(loop, ended == MANY - 1);
    for (int i = 0; i < MANY; i++)
        assert_true(gets[i].ok == (i != asking));
    assert_int_equal(giver_count("token"), 2);
}

static void renews_a_token_that_is_refused(void **unused)
{
    (void)unused;
    giver_script("{'ttl':1}");
    assert_true(ask("/latest/meta-data/instance-id")->ok);
    giver_script("{'get':[401,'ok'],'ttl':60}");
    assert_true(ask("/latest/meta-data/instance-id")->ok);
    assert_int_equal(giver_count("token"), 2);
}

/* --- the table of faults --- */

static void tells_a_hop_limit_by_the_token_that_does_not_come_back(void **unused)
{
    (void)unused;
    giver_script("{'token':'silent','v1':true}");
    settings.first_byte_ms = 300;
    settings.v1_allowed = true; /* silence is no reason to do without a token */
    assert_fails(ERR_TIMEOUT, "connected, but the token reply did not come back");
    assert_says(gets[0].err.text, "HttpPutResponseHopLimit to 2");
    assert_int_equal(giver_count("document"), 0);
    assert_true(giver_count("token") >= 2);
}

static void keeps_its_budget_when_all_is_silent(void **unused)
{
    (void)unused;
    giver_script("{'token':'silent','get':'silent'}");
    settings.first_byte_ms = 300;
    settings.budget_ms = 800;
    settings.tries = 20;
    int64_t before = clock_ns();
    assert_fails(ERR_TIMEOUT, "did not come back");
    assert_true(clock_ns() - before >= 300 * NS_PER_MS);
    assert_true(clock_ns() - before < 5 * NS_PER_S);
}

static void lets_only_the_first_asker_wait_for_all_tries(void **unused)
{
    (void)unused;
    giver_script("{'token':'silent'}");
    settings.first_byte_ms = 200;
    assert_fails(ERR_TIMEOUT, "did not come back");
    assert_int_equal(giver_count("token"), 4);
    assert_fails(ERR_TIMEOUT, "did not come back");
    assert_int_equal(giver_count("token"), 5);
    giver_script("{'token':'ok'}");
    settings.first_byte_ms = 5000;
    assert_true(ask("/latest/meta-data/instance-id")->ok);
    giver_script("{'get':['reset','ok']}");
    assert_true(ask("/latest/meta-data/instance-id")->ok); /* trusted again */
}

static void says_what_does_not_come_behind_the_token(void **unused)
{
    (void)unused;
    assert_true(ask("/latest/meta-data/instance-id")->ok); /* the token is there */
    giver_script("{'get':'silent'}");
    settings.tries = 2;
    settings.first_byte_ms = 300;
    assert_fails(ERR_TIMEOUT, "connected, but the name of the role did not come within 300 ms");
}

static void says_that_nobody_listens(void **unused)
{
    (void)unused;
    snprintf(settings.endpoint, sizeof settings.endpoint, "http://127.0.0.1:1");
    settings.tries = 2;
    assert_fails(ERR_REFUSED, "nobody listens there");
}

/* A listener whose queue is full drops what knocks, as a firewall would. */
static void says_that_no_connection_came_about(void **unused)
{
    (void)unused;
    enum { KNOCKS = 8 };
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), knocks[KNOCKS];
    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    for (int i = 0; i < KNOCKS; i++) {
        knocks[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connect(knocks[i], (struct sockaddr *)&address, size);
    }
    snprintf(settings.endpoint, sizeof settings.endpoint, "http://127.0.0.1:%d", ntohs(address.sin_port));
    settings.connect_ms = 100;
    settings.tries = 2;
    assert_fails(ERR_TIMEOUT, "no connection within 100 ms");
    for (int i = 0; i < KNOCKS; i++)
        close(knocks[i]);
    close(listener);
}

static void waits_for_answers_that_are_late(void **unused)
{
    (void)unused;
    giver_script("{'token':{'after':0.4},'get':{'after':0.4}}");
    assert_true(ask(NULL)->ok);
    assert_int_equal(giver_count("token"), 1);
    assert_int_equal(giver_count("roles"), 1);
}

static void gets_over_faults_that_pass(void **unused)
{
    (void)unused;
    giver_script("{'token':[500,500,'ok'],'get':['reset','ok',503,'ok']}");
    assert_true(ask(NULL)->ok);
    assert_int_equal(giver_count("token"), 3);
}

static void says_that_the_endpoint_is_disabled(void **unused)
{
    (void)unused;
    giver_script("{'token':403,'v1':true}");
    assert_fails(ERR_DENIED, "the endpoint is disabled (HttpEndpoint must be enabled)");
    assert_int_equal(giver_count("token"), 1);
    settings.v1_allowed = true;
    assert_true(ask(NULL)->ok);
    assert_string_equal(giver_last("get_headers", "X-aws-ec2-metadata-token"), "");
}

static void says_what_a_bad_request_was(void **unused)
{
    (void)unused;
    giver_script("{'token':400,'v1':true}");
    settings.v1_allowed = true;
    assert_fails(ERR_PROTOCOL, "the token request was answered with 400");
    assert_int_equal(giver_count("token"), 1);
}

static void names_the_role_that_ec2_may_not_assume(void **unused)
{
    (void)unused;
    giver_script("{'code':'AssumeRoleUnauthorizedAccess'}");
    assert_fails(ERR_DENIED, "role spark-node: EC2 may not assume the instance's role (AssumeRoleUnauthorizedAccess)");
    assert_int_equal(giver_count("document"), 1);
}

static void says_that_no_role_is_attached(void **unused)
{
    (void)unused;
    giver_script("{'role':''}");
    assert_fails(ERR_MISSING, "no role is attached to this instance: attach an instance profile");
}

static void says_that_it_is_throttled(void **unused)
{
    (void)unused;
    giver_script("{'get':429}");
    settings.tries = 2;
    assert_fails(ERR_THROTTLED, "too many requests (429)");
    assert_int_equal(giver_count("roles"), 2);
}

static void says_that_a_proxy_is_in_the_way(void **unused)
{
    (void)unused;
    giver_script("{'token':403,'proxy':true}");
    assert_fails(ERR_PROTOCOL, "a proxy answered in its place (403)");
    giver_script("{'token':'<html>Log in</html>','proxy':false}");
    assert_fails(ERR_PROTOCOL, "a proxy answered in its place (200)");
    giver_script("{'token':302}");
    assert_fails(ERR_PROTOCOL, "a proxy answered in its place (302)");
}

static void asks_no_proxy(void **unused)
{
    (void)unused;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    bool ok = ask(NULL)->ok;
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
    assert_true(ok);
}

static void asks_nothing_where_it_must_not(void **unused)
{
    (void)unused;
    imds_configure(imds, &settings, "the instance's metadata: this machine is no EC2 instance");
    assert_true(imds_get_start(&gets[0], imds, "/latest/meta-data/instance-id", on_done, NULL));
    TURN_UNTIL(loop, ended);
    assert_false(gets[0].ok);
    assert_int_equal(gets[0].err.kind, ERR_MISSING);
    assert_says(gets[0].err.text, "no EC2 instance");
    imds_get_stop(&gets[0]);
    settings.disabled = true;
    struct imds_get *get = ask(NULL);
    assert_false(get->ok);
    assert_says(get->err.text, "switched off");
    assert_int_equal(giver_count("token"), 0);
}

static void can_be_stopped_at_any_moment(void **unused)
{
    (void)unused;
    for (int turns = 0; turns < 40; turns++) {
        assert_true(imds_get_start(&gets[0], imds, NULL, on_done, NULL));
        assert_true(imds_get_start(&gets[1], imds, "/latest/meta-data/instance-id", on_done, NULL));
        for (int i = 0; i < turns; i++)
            loop_turn(loop, clock_ns() + NS_PER_MS, NULL);
        imds_get_stop(&gets[turns % 2]);
        imds_get_stop(&gets[1 - turns % 2]);
    }
    ended = 0;
    for (int i = 0; i < 50; i++)
        loop_turn(loop, clock_ns() + NS_PER_MS, NULL);
    assert_int_equal(ended, 0);
}

/* --- is this EC2? --- */

static void knows_ec2_by_what_the_machine_says(void **unused)
{
    (void)unused;
    static const struct {
        const char *file, *text;
        bool ec2;
    } machines[] = {
        {"sys_vendor", "Amazon EC2\n", true},
        {"sys_vendor", "QEMU\n", false},
        {"sys_vendor", "Amazon EC2 clone\n", false},
        {"board_asset_tag", "i-0123456789abcdef0\n", true},
        {"board_asset_tag", "Default string\n", false},
        {"product_uuid", "ec2e1916-9099-7caf-fd21-012345abcdef\n", true},
        {"product_uuid", "EC2E1916-9099-7CAF-FD21-012345ABCDEF\n", true},
        {"product_uuid", "45E12AEC-DCD1-B213-94ED-012345ABCDEF\n", true},
        {"product_uuid", "4c4c4544-0035-4410-8036-b4c04f4d3032\n", false},
        {"product_uuid", "", false},
    };
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        char *root = scratch_new();
        mkdir(scratch_path(root, "sys"), 0755);
        mkdir(scratch_path(root, "sys/class"), 0755);
        mkdir(scratch_path(root, "sys/class/dmi"), 0755);
        mkdir(scratch_path(root, "sys/class/dmi/id"), 0755);
        assert_false(aws_host_is_ec2(root));
        char name[100];
        snprintf(name, sizeof name, "sys/class/dmi/id/%s", machines[i].file);
        scratch_write(root, name, machines[i].text, 0644);
        if (aws_host_is_ec2(root) != machines[i].ec2)
            fail_msg("%s: %s", machines[i].file, machines[i].text);
        scratch_free(root);
    }
    char *root = scratch_new();
    mkdir(scratch_path(root, "sys"), 0755);
    mkdir(scratch_path(root, "sys/hypervisor"), 0755);
    scratch_write(root, "sys/hypervisor/uuid", "ec2f58af-2dad-c57e-88c0-a81cb6084290\n", 0644);
    assert_true(aws_host_is_ec2(root));
    scratch_free(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gives_the_roles_credentials),
        TEST(gives_any_path),
        TEST(asks_for_one_token_however_many_ask),
        TEST(lets_the_next_one_ask_when_the_asker_of_the_token_is_stopped),
        TEST(renews_a_token_that_is_refused),
        TEST(tells_a_hop_limit_by_the_token_that_does_not_come_back),
        TEST(keeps_its_budget_when_all_is_silent),
        TEST(lets_only_the_first_asker_wait_for_all_tries),
        TEST(says_what_does_not_come_behind_the_token),
        TEST(says_that_nobody_listens),
        TEST(says_that_no_connection_came_about),
        TEST(waits_for_answers_that_are_late),
        TEST(gets_over_faults_that_pass),
        TEST(says_that_the_endpoint_is_disabled),
        TEST(says_what_a_bad_request_was),
        TEST(names_the_role_that_ec2_may_not_assume),
        TEST(says_that_no_role_is_attached),
        TEST(says_that_it_is_throttled),
        TEST(says_that_a_proxy_is_in_the_way),
        TEST(asks_no_proxy),
        TEST(asks_nothing_where_it_must_not),
        TEST(can_be_stopped_at_any_moment),
        cmocka_unit_test(knows_ec2_by_what_the_machine_says),
    };
    return cmocka_run_group_tests(tests, giver_start, giver_stop);
}
