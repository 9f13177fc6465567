/* The store of credentials over real sockets, files and processes: one fetch for all who ask, refresh while the old ones are used, what
 * happens when a source is gone, and what each source's faults are called. */
#include "giving.h"

#include "../../src/net/credentials_inner.h" /* to let time pass */
#include "appliance/credentials.h"
#include "appliance/log.h"
#include "appliance/sys.h"

#include <unistd.h>

enum { MANY = 50, HOUR_MS = 3600 * 1000 };

static struct credentials_store *store;
static struct credentials_spec spec;
static struct credentials_ask asks[MANY];
static int ended;
static char *folder;
static char said[8192]; /* what the log got */

#define ROLE "arn:aws:iam::123456789012:role/reader"

static void on_told(struct credentials_ask *ask)
{
    (void)ask;
    ended++;
}

static void keep_log(enum log_level level, const char *text, size_t length)
{
    (void)level;
    size_t have = strlen(said);
    snprintf(said + have, sizeof said - have, "%.*s\n", (int)length, text);
}

static int begin(void **state)
{
    giving_begin(state);
    folder = scratch_new();
    memset(asks, 0, sizeof asks);
    said[0] = 0;
    log_set_sink(keep_log);
    spec = (struct credentials_spec){.environment = environment};
    store = NULL;
    set("AWS_REGION", "eu-west-1");
    return 0;
}

static int end(void **state)
{
    for (int i = 0; i < MANY; i++)
        credentials_ask_stop(&asks[i]);
    credentials_close(store);
    log_set_sink(NULL);
    scratch_free(folder);
    return giving_end(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static void from_instance(void)
{
    set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "%s", giver_at("/"));
    set("AWS_METADATA_SERVICE_TIMEOUT", "1");
    set("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "1");
}

static void from_container(void)
{
    set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "%s", giver_at("/container/role"));
}

static struct credentials_ask *ask_for(const char *role)
{
    struct err err;
    if (!store)
        store = credentials_open(loop, &spec, &err);
    assert_non_null(store);
    credentials_ask_stop(&asks[0]);
    ended = 0;
    if (!credentials_ask_start(&asks[0], store, role, on_told, &err))
        fail_msg("%s", err.text);
    assert_int_equal(ended, 0);
    TURN_UNTIL(loop, ended);
    return &asks[0];
}

static void assert_keys(const char *role, const char *id)
{
    struct credentials_ask *ask = ask_for(role);
    if (!ask->ok)
        fail_msg("%s", ask->err.text);
    assert_string_equal(ask->keys.access_key_id, id);
}

static void assert_refused(const char *role, enum err_kind kind, const char *words)
{
    struct credentials_ask *ask = ask_for(role);
    assert_false(ask->ok);
    assert_null(ask->keys.access_key_id);
    assert_says(ask->err.text, words);
    assert_int_equal(ask->err.kind, kind);
}

/* --- where they come from --- */

static int sockets;
static int (*real_socket)(int, int, int);

static int counting_socket(int domain, int type, int protocol)
{
    sockets++;
    return real_socket(domain, type, protocol);
}

static void takes_keys_of_the_environment_and_contacts_nobody(void **unused)
{
    (void)unused;
    from_instance();
    set("AWS_ACCESS_KEY_ID", "AKIDENV");
    set("AWS_SECRET_ACCESS_KEY", "SECRETENV");
    assert_keys(NULL, "AKIDENV");
    assert_null(asks[0].keys.session_token);
    assert_true(asks[0].keys.expires_wall_ms == CREDENTIALS_NEVER);
    assert_string_equal(asks[0].source, "environment");
    assert_int_equal(giver_count("token"), 0);
}

static void contacts_nobody_off_ec2(void **unused)
{
    (void)unused;
    spec.not_ec2 = true;
    real_socket = sys.socket;
    sys.socket = counting_socket;
    sockets = 0;
    int64_t before = clock_ns();
    struct credentials_ask *ask = ask_for(NULL);
    bool ok = ask->ok;
    struct err err = ask->err;
    struct imds_get get;
    int64_t took = clock_ns() - before;
    assert_true(imds_get_start(&get, credentials_imds(store), "/latest/meta-data/instance-id", NULL, NULL));
    imds_get_stop(&get);
    sys.socket = real_socket;
    assert_false(ok);
    assert_int_equal(err.kind, ERR_MISSING);
    assert_says(err.text, "this machine is no EC2 instance by its DMI");
    assert_int_equal(sockets, 0);
    assert_true(took < NS_PER_S);
}

static void takes_those_of_the_instance(void **unused)
{
    (void)unused;
    from_instance();
    assert_keys(NULL, "ASIAIMD0001");
    assert_string_equal(asks[0].source, "instance metadata");
    assert_keys(NULL, "ASIAIMD0001");
    assert_int_equal(giver_count("document"), 1);
}

static void reads_the_containers_token_file_again_for_each_request(void **unused)
{
    (void)unused;
    from_container();
    set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "%s", scratch_path(folder, "token"));
    scratch_write(folder, "token", "first", 0600);
    giver_script("{'authorization':'first'}");
    assert_keys(NULL, "ASIACON0001");
    assert_string_equal(asks[0].source, "container");
    assert_string_equal(giver_last("container_headers", "Authorization"), "first");
    scratch_write(folder, "token", "second", 0600);
    giver_script("{'authorization':'second'}");
    assert_true(credentials_refused(store, NULL, asks[0].generation));
    assert_keys(NULL, "ASIACON0002");
    scratch_write(folder, "token", "third\n", 0600);
    assert_true(credentials_refused(store, NULL, asks[0].generation));
    assert_refused(NULL, ERR_INVALID, "holds a line break");
}

static void names_what_the_container_refuses(void **unused)
{
    (void)unused;
    from_container();
    giver_script("{'authorization':'token'}");
    assert_refused(NULL, ERR_DENIED,
                   "the token was refused (401): AccessDenied, wrong token: it needs AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    assert_null(strstr(asks[0].err.text, "/container/role")); /* on ECS the path is a secret */
    assert_int_equal(giver_count("container"), 1);
}

static void tries_the_container_again(void **unused)
{
    (void)unused;
    from_container();
    giver_script("{'container':[500,'reset',429,'ok']}");
    assert_keys(NULL, "ASIACON0001");
    assert_int_equal(giver_count("container"), 4);
}

static void exchanges_a_web_identity_with_its_file_read_each_time(void **unused)
{
    (void)unused;
    set("AWS_WEB_IDENTITY_TOKEN_FILE", "%s", scratch_path(folder, "jwt"));
    set("AWS_ROLE_ARN", ROLE);
    set("AWS_ROLE_SESSION_NAME", "me");
    set("AWS_ENDPOINT_URL_STS", "%s", giver_at(""));
    scratch_write(folder, "jwt", "eyJ.one+/=\n", 0600);
    assert_keys(NULL, "ASIASTS0001");
    assert_string_equal(asks[0].source, "web identity");
    assert_string_equal(asks[0].keys.account_id, "123456789012");
    assert_string_equal(giver_last("sts", "Action"), "AssumeRoleWithWebIdentity");
    assert_string_equal(giver_last("sts", "WebIdentityToken"), "eyJ.one+/=");
    assert_string_equal(giver_last("sts", "RoleSessionName"), "me");
    assert_string_equal(giver_last("sts_headers", "Authorization"), "");
    scratch_write(folder, "jwt", "eyJ.two", 0600);
    assert_true(credentials_refused(store, NULL, asks[0].generation));
    assert_keys(NULL, "ASIASTS0002");
    assert_string_equal(giver_last("sts", "WebIdentityToken"), "eyJ.two");
}

static void write_profiles(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void write_profiles(const char *format, ...)
{
    char text[2000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    scratch_write(folder, "config", text, 0600);
    set("AWS_CONFIG_FILE", "%s", scratch_path(folder, "config"));
}

static void assumes_role_after_role_of_a_profile(void **unused)
{
    (void)unused;
    write_profiles("[profile base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = SECRETBASE\n"
                   "[profile middle]\nrole_arn = arn:aws:iam::111111111111:role/middle\nsource_profile = base\nregion = us-east-2\n"
                   "[default]\nrole_arn = " ROLE "\nsource_profile = middle\nexternal_id = ext:1\nduration_seconds = 7200\n"
                   "role_session_name = sess\nservices = here\n"
                   "[services here]\nsts =\n  endpoint_url = %s\n",
                   giver_at("/prefix"));
    assert_keys(NULL, "ASIASTS0002");
    assert_string_equal(asks[0].source, "profile");
    assert_int_equal(giver_count("sts"), 2);
    assert_string_equal(giver_last("sts", "Action"), "AssumeRole");
    assert_string_equal(giver_last("sts", "RoleArn"), ROLE);
    assert_string_equal(giver_last("sts", "ExternalId"), "ext:1");
    assert_string_equal(giver_last("sts", "DurationSeconds"), "3600"); /* STS grants no more to a role's credentials */
    assert_string_equal(giver_last("sts", "RoleSessionName"), "sess");
    assert_says(giver_last("sts_headers", "Authorization"), "AWS4-HMAC-SHA256 Credential=ASIASTS0001/");
    assert_says(giver_last("sts_headers", "Authorization"), "/eu-west-1/sts/aws4_request");
    assert_string_equal(giver_last("sts_headers", "X-Amz-Security-Token"), "token-0001");
}

static void assumes_a_role_with_those_of_the_instance(void **unused)
{
    (void)unused;
    from_instance();
    write_profiles("[default]\nrole_arn = " ROLE "\ncredential_source = Ec2InstanceMetadata\nendpoint_url = %s\n", giver_at(""));
    assert_keys(NULL, "ASIASTS0002");
    assert_says(giver_last("sts_headers", "Authorization"), "Credential=ASIAIMD0001/");
}

static void finds_the_region_of_sts_on_the_instance(void **unused)
{
    (void)unused;
    from_instance();
    set("AWS_REGION", " ");
    set("AWS_ENDPOINT_URL_STS", "%s", giver_at(""));
    giver_script("{'region':'ap-southeast-2'}");
    assert_keys(ROLE, "ASIASTS0002");
    assert_says(giver_last("sts_headers", "Authorization"), "/ap-southeast-2/sts/aws4_request");
}

static void allows_for_a_clock_that_is_off(void **unused)
{
    (void)unused;
    from_instance();
    set("AWS_ENDPOINT_URL_STS", "%s", giver_at(""));
    giver_script("{'clock':86400,'sts':['SignatureDoesNotMatch','ok']}");
    assert_keys(ROLE, "ASIASTS0002");
    char today[AWS_DATE_BASIC_SIZE], tomorrow[AWS_DATE_BASIC_SIZE];
    aws_date_basic(today, clock_wall_ms());
    aws_date_basic(tomorrow, clock_wall_ms() + 24 * (int64_t)HOUR_MS);
    const char *sent = giver_last("sts_headers", "X-Amz-Date");
    assert_true(strncmp(sent, today, AWS_DATE_DAY_LENGTH) > 0 && strncmp(sent, tomorrow, AWS_DATE_DAY_LENGTH) <= 0);
    giver_script("{'sts':'SignatureDoesNotMatch'}"); /* with a Date that differs: allowed for once, then it is the signature */
    assert_refused("arn:aws:iam::123456789012:role/other", ERR_DENIED, "SignatureDoesNotMatch");
    giver_script("{'clock':0}");
    assert_refused("arn:aws:iam::123456789012:role/third", ERR_DENIED, "SignatureDoesNotMatch");
    assert_int_equal(giver_count("sts"), 5);
}

static void says_that_no_region_is_known(void **unused)
{
    (void)unused;
    set("AWS_REGION", " ");
    set("AWS_ACCESS_KEY_ID", "AKIDENV");
    set("AWS_SECRET_ACCESS_KEY", "SECRETENV");
    set("AWS_EC2_METADATA_DISABLED", "TRUE");
    assert_refused(ROLE, ERR_MISSING, ROLE ": no region is known: set AWS_REGION (the instance's metadata: switched off");
}

/* --- processes --- */

static void from_process(const char *command)
{
    write_profiles("[default]\ncredential_process = %s\n", command);
}

static void takes_what_a_process_prints(void **unused)
{
    (void)unused;
    from_process("echo to the log >&2; echo '{\"Version\":1,\"AccessKeyId\":\"AKIDPROC\",' && "
                 "echo '\"SecretAccessKey\":\"S\",\"SessionToken\":\"T\"}'; echo more >&2");
    assert_keys(NULL, "AKIDPROC");
    assert_string_equal(asks[0].keys.session_token, "T");
    assert_true(asks[0].keys.expires_wall_ms == CREDENTIALS_NEVER);
}

static void gives_the_process_our_environment_and_no_input(void **unused)
{
    (void)unused;
    set("KEY_OF_TEST", "AKIDCAT");
    from_process("printf '{\"Version\":1,\"AccessKeyId\":\"%s\",\"SecretAccessKey\":\"S%s\"}' $KEY_OF_TEST \"$(cat)\"");
    assert_keys(NULL, "AKIDCAT");
    assert_string_equal(asks[0].keys.secret_access_key, "S");
}

static void says_how_a_process_failed(void **unused)
{
    (void)unused;
    from_process("echo '{}'; echo first >&2; echo no ticket >&2; exit 3");
    assert_refused(NULL, ERR_INVALID, "the credential_process of profile default exited with 3: no ticket");
    credentials_close(store);
    store = NULL;
    from_process("/nonexistent/program");
    assert_refused(NULL, ERR_INVALID, "exited with 127");
    credentials_close(store);
    store = NULL;
    from_process("echo nothing");
    assert_refused(NULL, ERR_PROTOCOL, "the credential_process of profile default: the document can't be read");
    credentials_close(store);
    store = NULL;
    from_process("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done");
    assert_refused(NULL, ERR_PROTOCOL, "printed more than 64 KiB");
    credentials_close(store);
    store = NULL;
    from_process("sh -c 'kill -9 $PPID'; echo not reached");
    assert_refused(NULL, ERR_INVALID, "exited with 137");
    credentials_close(store);
    store = NULL;
    from_process("read pid name state parent rest < /proc/self/stat; kill -9 $parent");
    assert_refused(NULL, ERR_SYSTEM, "was killed before it had ended");
}

static void does_not_wait_for_what_a_process_leaves_behind(void **unused)
{
    (void)unused;
    from_process("sleep 600 & echo $! >&2; echo $! > $OUT; echo '{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\"}'");
    set("OUT", "%s", scratch_path(folder, "pid"));
    assert_keys(NULL, "A");
    pid_t left = (pid_t)atoi(scratch_read(folder, "pid"));
    assert_true(left > 1);
    assert_int_equal(kill(left, SIGKILL), 0);
}

static bool is_gone(pid_t pid)
{
    char path[64], text[200] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return true;
    size_t length = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[length] = 0;
    const char *state = strrchr(text, ')');
    return !state || state[2] == 'Z' || state[2] == 'X';
}

static void kills_a_process_that_is_not_waited_for_any_more(void **unused)
{
    (void)unused;
    int descriptors = open_descriptors();
    from_process("sh -c 'echo $$ > $OUT; sleep 600; sleep 600'; sleep 600");
    set("OUT", "%s", scratch_path(folder, "pid"));
    struct err err;
    store = credentials_open(loop, &spec, &err);
    assert_true(credentials_ask_start(&asks[0], store, NULL, on_told, &err));
    TURN_UNTIL(loop, strchr(scratch_read(folder, "pid"), '\n'));
    pid_t pid = (pid_t)atoi(scratch_read(folder, "pid"));
    assert_false(is_gone(pid));
    ended = 0;
    credentials_close(store);
    store = NULL;
    TURN_UNTIL(loop, is_gone(pid));
    assert_int_equal(ended, 0);
    assert_int_equal(open_descriptors(), descriptors);
}

/* --- many askers, and time --- */

static void fetches_once_however_many_ask(void **unused)
{
    (void)unused;
    from_instance();
    set("AWS_ENDPOINT_URL_STS", "%s", giver_at(""));
    struct err err;
    store = credentials_open(loop, &spec, &err);
    ended = 0;
    for (int i = 0; i < MANY; i++)
        assert_true(credentials_ask_start(&asks[i], store, i % 2 ? ROLE : NULL, on_told, &err));
    TURN_UNTIL(loop, ended == MANY);
    for (int i = 0; i < MANY; i++) {
        assert_true(asks[i].ok);
        assert_string_equal(asks[i].keys.access_key_id, i % 2 ? "ASIASTS0002" : "ASIAIMD0001");
    }
    assert_int_equal(giver_count("token"), 1);
    assert_int_equal(giver_count("document"), 1);
    assert_int_equal(giver_count("sts"), 1);
}

static void refreshes_at_half_life_while_the_old_ones_are_used(void **unused)
{
    (void)unused;
    from_instance();
    uint64_t generation = 0;
    assert_keys(NULL, "ASIAIMD0001");
    credentials_pass_time(store, 2 * HOUR_MS);
    assert_string_equal(credentials_held(store, NULL, &generation)->access_key_id, "ASIAIMD0001");
    for (int i = 0; i < 20; i++)
        loop_turn(loop, clock_ns() + 2 * NS_PER_MS, NULL);
    assert_int_equal(giver_count("document"), 1);
    giver_script("{'get':{'after':0.2},'lifetime':43200}");
    credentials_pass_time(store, HOUR_MS + 1000);
    TURN_UNTIL(loop, giver_count("roles") == 2); /* by the timer: nobody asked */
    assert_string_equal(credentials_held(store, NULL, NULL)->access_key_id, "ASIAIMD0001");
    assert_keys(NULL, "ASIAIMD0001");
    TURN_UNTIL(loop, strcmp(credentials_held(store, NULL, NULL)->access_key_id, "ASIAIMD0002") == 0);
    credentials_held(store, NULL, &generation);
    assert_int_equal(generation, 2);
}

static void goes_on_with_expired_ones_while_the_instance_is_silent(void **unused)
{
    (void)unused;
    from_instance();
    assert_keys(NULL, "ASIAIMD0001");
    giver_script("{'token':'reset','get':'reset'}");
    credentials_pass_time(store, 3 * HOUR_MS + 1000);
    TURN_UNTIL(loop, strstr(said, "newer ones can't be had"));
    assert_says(said, "credentials: newer ones can't be had, the present ones are used meanwhile: IMDS at http://127.0.0.1:");
    assert_keys(NULL, "ASIAIMD0001");
    assert_false(asks[0].extended);
    credentials_pass_time(store, 3 * HOUR_MS); /* their end */
    assert_keys(NULL, "ASIAIMD0001");
    assert_true(asks[0].extended);
    int64_t end = asks[0].keys.expires_wall_ms - (clock_wall_ms() + 6 * (int64_t)HOUR_MS);
    assert_true(end > 9 * 60 * 1000 && end < 17 * 60 * 1000);
    assert_says(said, "instance metadata gives no newer ones: they are used until");
    credentials_pass_time(store, HOUR_MS);
    assert_keys(NULL, "ASIAIMD0001");
    giver_script("{'token':'ok','get':'ok','lifetime':86400}");
    credentials_pass_time(store, 20 * 60 * 1000);
    TURN_UNTIL(loop, strcmp(credentials_held(store, NULL, NULL)->access_key_id, "ASIAIMD0002") == 0);
    assert_says(said, "newer ones can be had again");
    assert_keys(NULL, "ASIAIMD0002");
    assert_false(asks[0].extended);
}

static void uses_a_document_that_had_expired_already(void **unused)
{
    (void)unused;
    from_instance();
    giver_script("{'lifetime':-100}");
    assert_keys(NULL, "ASIAIMD0001");
    assert_true(asks[0].extended);
    assert_true(asks[0].keys.expires_wall_ms > clock_wall_ms() + 9 * 60 * 1000);
}

static void does_not_use_expired_ones_of_a_container(void **unused)
{
    (void)unused;
    from_container();
    giver_script("{'lifetime':-100}");
    assert_refused(NULL, ERR_PROTOCOL, "what came from container had expired at ");
    credentials_close(store);
    store = NULL;
    giver_script("{'lifetime':3600}");
    assert_keys(NULL, "ASIACON0002");
    giver_script("{'container':404}");
    credentials_pass_time(store, HOUR_MS + 1000);
    assert_refused(NULL, ERR_INVALID, "it answered 404");
}

static void refreshes_once_what_a_service_calls_expired(void **unused)
{
    (void)unused;
    from_instance();
    giver_script("{'keep':true}");
    assert_keys(NULL, "ASIAIMD0001");
    assert_true(credentials_refused(store, NULL, asks[0].generation));
    assert_null(credentials_held(store, NULL, NULL));
    assert_keys(NULL, "ASIAIMD0001"); /* the same again, for the source has no others */
    assert_int_equal(giver_count("document"), 2);
    assert_false(credentials_refused(store, NULL, asks[0].generation));
    giver_script("{'keep':false}");
    credentials_pass_time(store, HOUR_MS);
    assert_true(credentials_held(store, NULL, NULL));
}

static void refreshes_the_chains_own_when_sts_calls_them_expired(void **unused)
{
    (void)unused;
    from_instance();
    set("AWS_ENDPOINT_URL_STS", "%s", giver_at(""));
    giver_script("{'sts':['ExpiredToken','ok']}");
    assert_keys(ROLE, "ASIASTS0003");
    assert_string_equal(asks[0].source, "assumed role");
    assert_int_equal(giver_count("document"), 2);
    assert_says(giver_last("sts_headers", "Authorization"), "Credential=ASIAIMD0002/");
}

static void says_why_sts_refuses_a_role(void **unused)
{
    (void)unused;
    from_instance();
    set("AWS_ENDPOINT_URL", "%s", giver_at(""));
    giver_script("{'sts':'AccessDenied'}");
    assert_refused(ROLE, ERR_DENIED, ROLE ": STS says AccessDenied (403): the role's trust policy must name who assumes it");
    assert_int_equal(giver_count("sts"), 1);
    assert_refused(ROLE, ERR_DENIED, "AccessDenied"); /* too soon to ask again */
    assert_int_equal(giver_count("sts"), 1);
    giver_script("{'sts':['reset',500,'ok']}");
    assert_keys("arn:aws:iam::123456789012:role/other", "ASIASTS0002");
    struct err err;
    assert_false(credentials_ask_start(&asks[1], store, "reader", on_told, &err));
    assert_says(err.text, "the role must be an ARN");
}

static void lets_go_of_a_role_that_nobody_asks_for(void **unused)
{
    (void)unused;
    from_instance();
    set("AWS_ENDPOINT_URL_STS", "%s", giver_at(""));
    giver_script("{'lifetime':864000}");
    assert_keys(ROLE, "ASIASTS0002");
    int fetches = 1;
    for (int i = 0; i < 6; i++) {
        credentials_pass_time(store, 5 * 24 * (int64_t)HOUR_MS + 60000);
        giver_script(i == 0 ? "{'lifetime':2000000}" : i == 1 ? "{'lifetime':3000000}" : "{'lifetime':4000000}");
        for (int turn = 0; turn < 40; turn++)
            loop_turn(loop, clock_ns() + 2 * NS_PER_MS, NULL);
        fetches = giver_count("sts");
    }
    assert_true(fetches >= 2 && fetches <= 3);
}

/* --- the end --- */

static void can_be_closed_or_stopped_at_any_moment(void **unused)
{
    (void)unused;
    from_instance();
    set("AWS_ENDPOINT_URL_STS", "%s", giver_at(""));
    for (int turns = 0; turns < 30; turns++) {
        struct err err;
        ended = 0;
        store = credentials_open(loop, &spec, &err);
        for (int i = 0; i < 4; i++)
            assert_true(credentials_ask_start(&asks[i], store, i % 2 ? ROLE : NULL, on_told, &err));
        for (int i = 0; i < turns; i++)
            loop_turn(loop, clock_ns() + NS_PER_MS, NULL);
        credentials_ask_stop(&asks[turns % 4]);
        if (turns % 3 == 0)
            for (int i = 0; i < 4; i++)
                credentials_ask_stop(&asks[i]);
        int told = ended;
        credentials_close(store);
        store = NULL;
        for (int i = 0; i < 3; i++)
            loop_turn(loop, clock_ns() + NS_PER_MS, NULL);
        assert_int_equal(ended, told);
        for (int i = 0; i < 4; i++)
            credentials_ask_stop(&asks[i]);
    }
}

static struct credentials_ask again;

static void closes(struct credentials_ask *ask)
{
    (void)ask;
    credentials_close(store);
    store = NULL;
    ended++;
}

static void may_be_closed_by_who_is_told(void **unused)
{
    (void)unused;
    struct err err;
    set("AWS_ACCESS_KEY_ID", "AKIDENV");
    set("AWS_SECRET_ACCESS_KEY", "SECRETENV");
    store = credentials_open(loop, &spec, &err);
    ended = 0;
    assert_true(credentials_ask_start(&asks[0], store, NULL, closes, &err));
    assert_true(credentials_ask_start(&again, store, NULL, closes, &err));
    TURN_UNTIL(loop, ended);
    for (int i = 0; i < 5; i++)
        loop_turn(loop, 0, NULL);
    assert_int_equal(ended, 1);
    credentials_ask_stop(&again);
}

static void sees_what_changed_in_the_files(void **unused)
{
    (void)unused;
    write_profiles("[default]\naws_access_key_id = AKIDOLD\naws_secret_access_key = S\n");
    assert_keys(NULL, "AKIDOLD");
    write_profiles("[default]\naws_access_key_id = AKIDNEW\naws_secret_access_key = S\nnot a line\n");
    assert_keys(NULL, "AKIDOLD"); /* for ever, as long as nobody refuses them */
    assert_true(credentials_refused(store, NULL, asks[0].generation));
    write_profiles("[default]\naws_access_key_id = AKIDNEW\naws_secret_access_key = S\n");
    assert_keys(NULL, "AKIDNEW");
}

static void names_the_file_that_is_broken(void **unused)
{
    (void)unused;
    from_instance();
    write_profiles("[default\n");
    assert_refused(NULL, ERR_INVALID, "/config:1:");
    assert_int_equal(giver_count("token"), 0); /* somebody else's keys would be no help */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(takes_keys_of_the_environment_and_contacts_nobody),
        TEST(contacts_nobody_off_ec2),
        TEST(takes_those_of_the_instance),
        TEST(reads_the_containers_token_file_again_for_each_request),
        TEST(names_what_the_container_refuses),
        TEST(tries_the_container_again),
        TEST(exchanges_a_web_identity_with_its_file_read_each_time),
        TEST(assumes_role_after_role_of_a_profile),
        TEST(assumes_a_role_with_those_of_the_instance),
        TEST(finds_the_region_of_sts_on_the_instance),
        TEST(allows_for_a_clock_that_is_off),
        TEST(says_that_no_region_is_known),
        TEST(takes_what_a_process_prints),
        TEST(gives_the_process_our_environment_and_no_input),
        TEST(says_how_a_process_failed),
        TEST(does_not_wait_for_what_a_process_leaves_behind),
        TEST(kills_a_process_that_is_not_waited_for_any_more),
        TEST(fetches_once_however_many_ask),
        TEST(refreshes_at_half_life_while_the_old_ones_are_used),
        TEST(goes_on_with_expired_ones_while_the_instance_is_silent),
        TEST(uses_a_document_that_had_expired_already),
        TEST(does_not_use_expired_ones_of_a_container),
        TEST(refreshes_once_what_a_service_calls_expired),
        TEST(refreshes_the_chains_own_when_sts_calls_them_expired),
        TEST(says_why_sts_refuses_a_role),
        TEST(lets_go_of_a_role_that_nobody_asks_for),
        TEST(can_be_closed_or_stopped_at_any_moment),
        TEST(may_be_closed_by_who_is_told),
        TEST(sees_what_changed_in_the_files),
        TEST(names_the_file_that_is_broken),
    };
    return cmocka_run_group_tests(tests, giver_start, giver_stop);
}
