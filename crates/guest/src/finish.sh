# Runs the script, tells how it ended, and powers off.
. /run/ports
setsid sh /script < /dev/null > "$out" 2>&1
echo $? > "$result"
tar -C /out -cf "$files" .
sync
poweroff -f
