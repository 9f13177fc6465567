--- Keys that clients get wrong: each is one the user of some client lost an object by (or found another's).
return {
  "plain", "a b", "a+b", "a*b", "a?b=c&d", "a#b", "trailing/", "a//b", "/lead", "//twice", "./dot", "a/./b", "../up", "a/../b", "..",
  "100%", "%2F%25", "=;:@,$!~'()", "[a]{b}|^`", "\"<&>", "back\\slash", "ü/é/ß", "日本語", "emoji 😀", " blank around ", "tab\tcr\r.",
  "ctl\1\31\127",
  "versionId?versionId=", ("long/"):rep(200),
}
