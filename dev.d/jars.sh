# shellcheck shell=sh
# dev.d/jars.sh - the jars that give a cached Spark s3:// and s3a://, as dev.d/jars-VERSION pins them.
# A release of the Python package index has none of them. Maven fetches them (with the settings this machine's has), the pinned sums
# say whether they are the right ones, and they land in jars/ by rename, so that a Spark in use never sees half a jar.
# Invariant: RELEASE/jars.pinned is a copy of the list whose jars are all in RELEASE/jars, and is written last.

JARS_PLUGIN='org.apache.maven.plugins:maven-dependency-plugin:3.6.1'

# jars_are_in VERSION RELEASE: is nothing to do? A version without a list has nothing, and works without.
jars_are_in() { [ ! -f "$TOP/dev.d/jars-$1" ] || cmp -s "$TOP/dev.d/jars-$1" "$2/jars.pinned"; }

# jars_add VERSION RELEASE WORK: fetches into WORK, a directory on the same file system, and moves what was checked into RELEASE/jars.
jars_add() {
  jars_list=$TOP/dev.d/jars-$1
  command -v mvn >/dev/null || need_packages mvn:maven
  say "spark $1: fetching $(jars_lines "$jars_list" | wc -l) jars for s3://, $(jars_megabytes "$jars_list") MB"
  mkdir -p "$3/jars" || return 1
  jars_pom "$jars_list" >"$3/pom.xml"
  # shellcheck disable=SC2046  # options
  mvn -B -q $(jars_proxy) -f "$3/pom.xml" "$JARS_PLUGIN:copy-dependencies" -DoutputDirectory="$3/jars" >"$3/maven.log" 2>&1 </dev/null 9>&- ||
    { tail -n 20 "$3/maven.log" >&2; return 1; }
  jars_lines "$jars_list" | while read -r sum _ coordinates; do
    printf '%s  %s\n' "$sum" "$(jars_file "$coordinates")"
  done >"$3/sums"
  (cd "$3/jars" && sha256sum --check --quiet --strict ../sums) >&2 ||
    { say "spark $1: a jar is not the one that dev.d/jars-$1 names (above); nothing was changed"; return 1; }
  # What an older list brought and this one does not: two versions of one class path would be one too many.
  if [ -f "$2/jars.pinned" ]; then
    jars_lines "$2/jars.pinned" | while read -r _ _ coordinates; do
      grep -q " $coordinates\$" "$jars_list" || rm -f "$2/jars/$(jars_file "$coordinates")"
    done
  fi
  chmod go+r "$3"/jars/*.jar && mv "$3"/jars/*.jar "$2/jars/" && cp "$jars_list" "$3/pinned" && mv "$3/pinned" "$2/jars.pinned"
}

jars_lines() { grep -v '^#' "$1"; }
jars_megabytes() { megabytes "$(jars_lines "$1" | awk '{ bytes += $2 } END { print bytes }')"; }

# jars_file GROUP:ARTIFACT:VERSION: the name of the file.
jars_file() { printf '%s.jar\n' "$(printf '%s' "${1#*:}" | tr : -)"; }

# The list is complete, so nothing may come with it: Spark has its own netty, jackson and so on, and each once is enough.
jars_pom() {
  echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>spark-appliance</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging><dependencies>'
  jars_lines "$1" | while read -r _ _ coordinates; do
    printf '%s\n' "$coordinates" | awk -F : '{ printf "<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version>" \
      "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>\n", $1, $2, $3 }'
  done
  echo '</dependencies></project>'
}

# Maven does not read https_proxy, which everybody else does.
jars_proxy() {
  proxy=${https_proxy:-${HTTPS_PROXY:-}}
  proxy=${proxy#*://}
  proxy=${proxy%%/*}
  proxy=${proxy##*@}
  case $proxy in
    *:*) echo "-Dhttps.proxyHost=${proxy%:*} -Dhttps.proxyPort=${proxy##*:}" ;;
  esac
}
