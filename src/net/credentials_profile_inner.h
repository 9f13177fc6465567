/* credentials_profile_inner.h - what the two halves of credentials_profile.h share: the letters of a line. */
#ifndef APPLIANCE_CREDENTIALS_PROFILE_INNER_H
#define APPLIANCE_CREDENTIALS_PROFILE_INNER_H

#include "appliance/credentials_profile.h"

bool profile_is_blank(char); /* a blank or a tab: what may stand around names and values */
struct bytes profile_trim(struct bytes);
/* `anywhere`: a comment may follow without a blank, as it may behind a section's bracket, but not behind a value. */
struct bytes profile_without_comment(struct bytes line, bool anywhere);
/* At the first '='; false: there is none. Both are trimmed and may be empty. */
bool profile_split(struct bytes line, struct bytes *name, struct bytes *value);

#endif
