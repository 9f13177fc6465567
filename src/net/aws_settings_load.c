#include "appliance/aws_settings.h"
#include "appliance/credentials_chain.h"
#include "appliance/file.h"

static bool read_file(struct profile_set *profiles, enum profile_file which, const struct credentials_paths *paths, struct err *err)
{
    struct buf text;
    struct err fault;
    if (!*paths->file[which])
        return true;
    buf_init(&text, PROFILE_FILE_LIMIT);
    bool ok = file_read(paths->file[which], &text, &fault);
    if (ok)
        ok = profile_read(profiles, which, paths->file[which], buf_bytes(&text), err);
    else if (fault.kind == ERR_MISSING && !paths->named[which])
        ok = true;
    else if (err)
        *err = fault;
    buf_free(&text);
    return ok;
}

bool aws_settings_load(struct aws_settings *to, char *const *environment, struct err *err)
{
    struct credentials_paths paths;
    struct profile_set profiles = {0};
    struct err fault = {0};
    *to = (struct aws_settings){0};
    if (!credentials_paths(environment, &paths, &fault) && fault.kind != ERR_NONE)
        return err_set(err, fault.kind, "%s", fault.text);
    bool ok = read_file(&profiles, PROFILE_CONFIG, &paths, err) && read_file(&profiles, PROFILE_CREDENTIALS, &paths, err);
    if (ok)
        ok = aws_settings_read(to, &(struct aws_settings_given){environment, &profiles, paths.profile}, err);
    profile_free(&profiles);
    return ok;
}
