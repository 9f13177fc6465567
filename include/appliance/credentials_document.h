/* credentials_document.h - the documents in which sources hand out credentials, each read into a struct credentials.
 * Pure. Whether an expiry has passed is not asked here: for IMDS that is no fault (static stability).
 * Secrets are wiped from what is allocated on the way; what libxml2 copies inside while it reads an answer of STS is out of our hands. */
#ifndef APPLIANCE_CREDENTIALS_DOCUMENT_H
#define APPLIANCE_CREDENTIALS_DOCUMENT_H

#include "appliance/credentials_keys.h"

enum document_kind {
    DOCUMENT_CONTAINER, /* AccessKeyId, SecretAccessKey, Token, Expiration, AccountId; no Code, unless something is wrong */
    DOCUMENT_IMDS,      /* the same, and Code, which must be Success; Token and Expiration must be there */
    DOCUMENT_PROCESS,   /* Version 1, AccessKeyId, SecretAccessKey, SessionToken, Expiration, AccountId; no Expiration: for ever */
};

enum { DOCUMENT_LIMIT = 64 * 1024 };

/* `source` begins each sentence: "IMDS". err->kind: DENIED, the source says by a Code that it gives none, so asking again does not help;
 * PROTOCOL, the document makes no sense, which may pass. */
bool credentials_document_read(enum document_kind, struct bytes text, const char *source, struct credentials *, struct err *);

/* The answer of STS to AssumeRole or AssumeRoleWithWebIdentity (status 200). The account is that of the assumed role. */
bool credentials_sts_read(struct bytes xml, struct credentials *, struct err *);

/* Any other answer of STS: always fills err, with a sentence that begins with `subject` (the role, usually). kind: THROTTLED and
 * TIMEOUT (STS or the identity provider is in trouble) may be tried again; DENIED, INVALID and PROTOCOL not.
 * err->code is the HTTP status. `body` need not be XML. Returns whether trying again may help. */
bool credentials_sts_fault(int status, struct bytes body, const char *subject, struct err *);

#endif
