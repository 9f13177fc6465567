/* xml.h - reads a small XML document that somebody else wrote, and escapes text for one of ours.
 * Not a DOM and no schema: one flat list of nodes in document order. Nothing is fetched, nothing is declared: a document
 * with a DOCTYPE is refused, so the five entities of XML are the only ones and nothing expands.
 * Invariant: memory is bounded by the limits, whatever the input. */
#ifndef APPLIANCE_XML_H
#define APPLIANCE_XML_H

#include "appliance/buf.h"
#include "appliance/err.h"

enum xml_kind { XML_ELEMENT, XML_ATTRIBUTE, XML_TEXT, XML_COMMENT };

struct xml_node {
    enum xml_kind kind;
    int depth; /* the root is 1; attributes, text and comments of an element are one deeper than it, as its children are */
    int line;
    const char *name;  /* of an element or attribute, without prefix; else "" */
    struct bytes text; /* of an attribute, text or comment, UTF-8 and zero-terminated; CDATA is text */
};

struct xml_limits {
    size_t bytes;
    int depth;
    size_t nodes;
};
#define XML_LIMITS_DEFAULT ((struct xml_limits){4 << 20, 32, 200000})

struct xml_document {
    struct xml_node *nodes; /* nodes[0] is the root unless a comment stands before it */
    size_t count;
    struct buf arena;
};

/* False: not well-formed, a DOCTYPE, or beyond a limit; err.text is "line 3: ..." for the caller to put the document's name before. */
bool xml_read(struct xml_document *, struct bytes input, const struct xml_limits *, struct err *);
void xml_free(struct xml_document *); /* harmless twice, and on a zeroed one */

/* Appends `text` as element content or attribute value. False: a character that XML 1.0 can't hold, or the buffer is full. */
bool xml_escape(struct buf *, struct bytes text, struct err *);

#endif
