# dev.d/tap.awk - counts one program's TAP (cmocka and busted): prints "PASSED FAILED SKIPPED", then each failure readably.
# A program that ends with an error though no test failed, runs fewer tests than it announced, or none at all, has failed too.
# Variables: status (exit code of the program), seconds (its time limit).
/^1\.\.[0-9]+/ { planned += substr($1, 4); next }
/^(not )?ok [0-9]+ (- )?# SKIP/ { skipped++; in_failure = 0; skip_lines = skip_lines "    skipped: " substr($0, index($0, "SKIP") + 5) "\n"; next }
/^ok [0-9]+ / { passed++; in_failure = 0; next }
/^not ok [0-9]+ / { failed++; in_failure = 1; failures = failures "    " $0 "\n"; next }
in_failure && /^#/ { failures = failures "    " $0 "\n" }
{ last[NR % 15] = $0 }
END {
  seen = passed + failed + skipped
  if (status == 124 || status == 137) { trouble = "not finished after " seconds " s" }
  else if (status != 0 && failed == 0) { trouble = "ended with " status " though no test failed" }
  else if (seen == 0) { trouble = "ran no test" }
  else if (planned > seen) { trouble = "announced " planned " tests and ran " seen }
  if (trouble != "") {
    failed++
    failures = failures "    " trouble "; its last lines:\n"
    for (i = NR + 1; i <= NR + 15; i++) if (last[i % 15] != "") failures = failures "      " last[i % 15] "\n"
  }
  printf "%d %d %d\n%s%s", passed, failed, skipped, failures, skip_lines
}
