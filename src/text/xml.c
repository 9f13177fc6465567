#include "appliance/xml.h"

#include <libxml/parserInternals.h>
#include <limits.h>
#include <stdlib.h>

/* While reading, the arena moves: nodes hold offsets until the end. */
struct draft {
    enum xml_kind kind;
    int depth, line;
    size_t name, text, length;
};

struct reading {
    struct xml_limits limits;
    struct buf drafts, arena;
    xmlParserCtxtPtr parser;
    struct err *err;
    int depth;
    bool failed;
};

static void fail(struct reading *r, enum err_kind kind, const char *what)
{
    if (!r->failed)
        err_set(r->err, kind, "line %d: %s", xmlSAX2GetLineNumber(r->parser), what);
    r->failed = true;
    xmlStopParser(r->parser);
}

/* Copies with a zero behind it; the offset, or SIZE_MAX when the limits are reached. */
static size_t keep(struct reading *r, const void *data, size_t length)
{
    size_t at = r->arena.length;
    if (!buf_reserve(&r->arena, length + 1) || !buf_append(&r->arena, data, length) || !buf_append(&r->arena, "", 1))
        return SIZE_MAX;
    return at;
}

static void add(struct reading *r, enum xml_kind kind, const char *name, const void *text, size_t length)
{
    if (r->failed)
        return;
    struct draft draft = {.kind = kind, .depth = r->depth + 1, .line = xmlSAX2GetLineNumber(r->parser), .length = length};
    draft.name = keep(r, name, strlen(name));
    draft.text = keep(r, text, length);
    if (draft.name == SIZE_MAX || draft.text == SIZE_MAX || !buf_append(&r->drafts, &draft, sizeof draft))
        fail(r, ERR_INVALID, "the document holds more than the limit allows");
}

static void on_start(void *argument, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri, int namespaces,
                     const xmlChar **declared, int attributes, int defaulted, const xmlChar **attribute)
{
    (void)prefix, (void)uri, (void)namespaces, (void)declared, (void)defaulted;
    struct reading *r = argument;
    if (r->depth >= r->limits.depth) {
        fail(r, ERR_INVALID, "elements are nested deeper than the limit");
        return;
    }
    add(r, XML_ELEMENT, (const char *)name, "", 0);
    r->depth++;
    /* libxml2 gives five pointers for each: name, prefix, URI, begin and end of the value. */
    for (int i = 0; i < attributes; i++) {
        const xmlChar **at = attribute + 5 * i;
        add(r, XML_ATTRIBUTE, (const char *)at[0], at[3], (size_t)(at[4] - at[3]));
    }
}

static void on_end(void *argument, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
    (void)name, (void)prefix, (void)uri;
    struct reading *r = argument;
    if (!r->failed)
        r->depth--;
}

/* Text comes in pieces, cut where the parser's buffer, an entity or a CDATA section ends. */
static void on_text(void *argument, const xmlChar *text, int length)
{
    struct reading *r = argument;
    struct draft *last = r->drafts.length ? (struct draft *)(r->drafts.data + r->drafts.length) - 1 : NULL;
    if (r->failed || !last || last->kind != XML_TEXT || last->depth != r->depth + 1) {
        add(r, XML_TEXT, "", text, (size_t)length);
        return;
    }
    r->arena.length--; /* over the zero of the piece before */
    if (keep(r, text, (size_t)length) == SIZE_MAX)
        fail(r, ERR_INVALID, "the document holds more than the limit allows");
    else
        last->length += (size_t)length;
}

static void on_comment(void *argument, const xmlChar *text)
{
    add(argument, XML_COMMENT, "", text, strlen((const char *)text));
}

static void on_doctype(void *argument, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
    (void)name, (void)external, (void)system;
    fail(argument, ERR_INVALID, "a DOCTYPE is not accepted: take it out, and write what its entities stand for");
}

static void on_error(void *argument, xmlErrorPtr error)
{
    struct reading *r = argument;
    if (r->failed || error->level < XML_ERR_FATAL)
        return;
    r->failed = true;
    const char *message = error->message ? error->message : "not well-formed";
    err_set(r->err, ERR_INVALID, "line %d: %.*s", error->line, (int)strcspn(message, "\n"), message);
}

/* What libxml2 says outside of any document (a byte its converter can't read) would go to our stderr; the reading fails anyway. */
static void be_quiet(void *unused, xmlErrorPtr error)
{
    (void)unused, (void)error;
}

static bool resolve(struct reading *r, struct xml_document *document)
{
    size_t count = r->drafts.length / sizeof(struct draft);
    document->nodes = calloc(count ? count : 1, sizeof *document->nodes);
    if (!document->nodes)
        return err_set(r->err, ERR_SYSTEM, "no memory for %zu nodes", count);
    for (size_t i = 0; i < count; i++) {
        const struct draft *draft = (const struct draft *)r->drafts.data + i;
        document->nodes[i] = (struct xml_node){
            .kind = draft->kind,
            .depth = draft->depth,
            .line = draft->line,
            .name = r->arena.data + draft->name,
            .text = {r->arena.data + draft->text, draft->length},
        };
    }
    document->count = count;
    document->arena = r->arena;
    buf_init(&r->arena, 0);
    return true;
}

bool xml_read(struct xml_document *document, struct bytes input, const struct xml_limits *limits, struct err *err)
{
    struct xml_limits bounds = limits ? *limits : XML_LIMITS_DEFAULT;
    memset(document, 0, sizeof *document);
    if (input.length > bounds.bytes || input.length > INT_MAX)
        return err_set(err, ERR_INVALID, "%zu bytes, more than the %zu it may have", input.length, bounds.bytes);
    if (input.length == 0)
        return err_set(err, ERR_INVALID, "empty, where an XML document was expected");
    struct reading r = {.limits = bounds, .err = err};
    /* A decoded character has up to three bytes for one of the input, and each node two zeros and its name. */
    buf_init(&r.arena, 4 * input.length + 64);
    buf_init(&r.drafts, bounds.nodes * sizeof(struct draft));
    xmlSetStructuredErrorFunc(NULL, be_quiet);
    r.parser = xmlCreateMemoryParserCtxt(input.data, (int)input.length);
    if (!r.parser)
        return err_set(err, ERR_SYSTEM, "no memory to read XML");
    /* NOENT, which reads like a risk, concerns the five only, for nobody can declare others here; without it libxml2 hands out an
     * "&amp;" of an attribute as "&#38;". */
    xmlCtxtUseOptions(r.parser, XML_PARSE_NONET | XML_PARSE_NOENT | XML_PARSE_NOWARNING);
    *r.parser->sax = (xmlSAXHandler){
        .initialized = XML_SAX2_MAGIC,
        .startElementNs = on_start,
        .endElementNs = on_end,
        .characters = on_text,
        .cdataBlock = on_text,
        .comment = on_comment,
        .internalSubset = on_doctype,
        .serror = on_error,
    };
    r.parser->userData = &r;
    xmlParseDocument(r.parser);
    bool ok = !r.failed;
    if (ok && !r.parser->wellFormed)
        ok = err_set(err, ERR_INVALID, "not well-formed XML");
    ok = ok && resolve(&r, document);
    /* Where entities are declared libxml2 keeps them in a document, and forgets it when the reading was stopped. */
    if (r.parser->myDoc)
        xmlFreeDoc(r.parser->myDoc);
    r.parser->myDoc = NULL;
    xmlFreeParserCtxt(r.parser);
    buf_free(&r.drafts);
    buf_free(&r.arena);
    return ok;
}
