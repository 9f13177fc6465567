# cmake -DNM=... -DARCHIVE=libcurl.a -DOUT=absent.c -P absent.cmake
# Writes a definition for each function that Debian's libcurl.a wants of libraries which only serve protocols we never speak: LDAP, RTMP,
# SSH, HTTP/2, Kerberos; and cookies' public suffixes, international names, compressed answers. Each says 0, "done" or "not there". Of all
# of them only libssh2_init and idn2_check_version are ever called: curl_global_init and the look-up of a name ask them.
execute_process(COMMAND ${NM} --undefined-only --no-sort --format=posix ${ARCHIVE} OUTPUT_VARIABLE symbols ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${NM} can't read ${ARCHIVE}")
endif()
string(REGEX MATCHALL "\n(ldap_|ber_|RTMP_|libssh2_|gss_|GSS_C_|psl_|idn2_|nghttp2_|Brotli|ZSTD_|inflate|zlib)[A-Za-z0-9_]* U" absent "${symbols}")
list(TRANSFORM absent REPLACE "\n(.*) U$" "\\1")
list(REMOVE_DUPLICATES absent)
list(SORT absent)
set(text "/* Made by cmake/absent.cmake, which says what this is. */\n")
foreach(name ${absent})
  if(name MATCHES "^GSS_C_")
    string(APPEND text "extern void *const ${name};\nvoid *const ${name} = 0;\n")
  else()
    string(APPEND text "long ${name}(void);\nlong ${name}(void) { return 0; }\n")
  endif()
endforeach()
file(WRITE ${OUT} "${text}")
