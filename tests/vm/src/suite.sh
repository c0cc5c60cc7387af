# Runs tests one a process; what a test says is told when it fails.
failed=0
program() { name=$1 program=$2; }
run() {
  read -r began _ < /proc/uptime
  timeout -s KILL 150 "$program" --exact "$1" --include-ignored --nocapture > /tmp/said 2>&1
  code=$?
  read -r ended _ < /proc/uptime
  took=$(awk "BEGIN { print $ended - $began }")
  if [ $code = 0 ]; then
    echo "ok $name::$1"
    echo "  $took s"
  else
    failed=1
    echo "failed $name::$1"
    echo "  $took s, code $code:"
    sed 's/^/  | /' /tmp/said
  fi
}
