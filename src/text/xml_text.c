/* What of xml.h needs no libxml2. */
#include "appliance/xml.h"

#include <stdlib.h>
#include <string.h>

void xml_free(struct xml_document *document)
{
    free(document->nodes);
    buf_free(&document->arena);
    memset(document, 0, sizeof *document);
}

static const char *entity(unsigned char character)
{
    switch (character) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\r': return "&#13;"; /* a bare one is read back as a line feed */
    default: return NULL;
    }
}

bool xml_escape(struct buf *out, struct bytes text, struct err *err)
{
    for (size_t i = 0; i < text.length; i++) {
        unsigned char character = (unsigned char)text.data[i];
        if (character < 0x20 && character != '\t' && character != '\n' && character != '\r')
            return err_set(err, ERR_INVALID, "the control character 0x%02x can't be written in XML", character);
        const char *name = entity(character);
        if (name ? !buf_text(out, name) : !buf_append(out, text.data + i, 1))
            return err_set(err, ERR_INVALID, "too long for its buffer");
    }
    return true;
}
