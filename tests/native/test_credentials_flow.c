/* Where credentials come from, over real sockets, files and processes, and what each source's faults are called. */
#include "asking.h"

#include "appliance/aws_date.h"
#include "appliance/sys.h"

#include <unistd.h>

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

static void asks_again_for_a_region_that_was_none(void **unused)
{
    (void)unused;
    from_instance();
    set("AWS_REGION", " ");
    set("AWS_ENDPOINT_URL_STS", "%s", "");
    giver_script("{'region':'<html>a login page</html>'}");
    assert_refused(ROLE, ERR_INVALID, ROLE);
    set("AWS_ENDPOINT_URL_STS", "%s", giver_at(""));
    giver_script("{'region':'ap-southeast-2'}");
    assert_keys("arn:aws:iam::123456789012:role/other", "ASIASTS0002");
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

/* Seen by the proxy, for nobody else must be asked here. */
static void asks_sts_of_the_region(void **unused)
{
    (void)unused;
    static const struct {
        const char *region, *fips, *host;
    } places[] = {
        {"eu-west-1", "", "sts.eu-west-1.amazonaws.com:443"},
        {"cn-north-1", "", "sts.cn-north-1.amazonaws.com.cn:443"},
        {"us-gov-west-1", "True", "sts-fips.us-gov-west-1.amazonaws.com:443"},
    };
    set("AWS_ACCESS_KEY_ID", "AKIDENV");
    set("AWS_SECRET_ACCESS_KEY", "SECRETENV");
    setenv("https_proxy", giver_at(""), 1);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        set("AWS_REGION", "%s", places[i].region);
        set("AWS_USE_FIPS_ENDPOINT", "%s", places[i].fips);
        struct err err;
        struct credentials_store *one = credentials_open(loop, &spec, &err);
        assert_true(credentials_ask_start(&asks[1], one, ROLE, on_told, &err));
        TURN_UNTIL(loop, strstr(giver_request("GET", "/test/counts", NULL), places[i].host));
        credentials_close(one);
    }
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

/* --- files --- */

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
        TEST(asks_again_for_a_region_that_was_none),
        TEST(allows_for_a_clock_that_is_off),
        TEST(asks_sts_of_the_region),
        TEST(says_that_no_region_is_known),
        TEST(takes_what_a_process_prints),
        TEST(gives_the_process_our_environment_and_no_input),
        TEST(says_how_a_process_failed),
        TEST(does_not_wait_for_what_a_process_leaves_behind),
        TEST(kills_a_process_that_is_not_waited_for_any_more),
        TEST(sees_what_changed_in_the_files),
        TEST(names_the_file_that_is_broken),
    };
    return cmocka_run_group_tests(tests, giver_start, giver_stop);
}
