# Sourced by run_all.sh and run_more.sh: announces a step, with its number of all and the time since the start.

steps=$(grep -c '^step ' "$0")
number=0

step() {  # step TITLE COMMAND...
  local title=$1
  shift
  number=$((number + 1))
  printf '\n[%2d/%d] %s  (%d:%02d since the start)\n' "$number" "$steps" "$title" $((SECONDS / 60)) $((SECONDS % 60))
  "$@"
}
