# pgweir keeper: ends the servers of a parent that can no longer end them itself, be it by SIGKILL.
#
# The parent holds the other end of our standard input, and tells through it which processes to watch:
#     watch PID SIGNAL     SIGNAL is the first thing to tell PID once the parent is gone
# When the input ends, the parent has ended, in whatever way: then every watched process is ended, and so are its
# children, which would survive as stopped processes if the server had been frozen. A number alone could mean another
# process by now, so only one whose working folder lies under the parent's folder is touched. Every process that works
# there without having been announced is left alone: it may be the shell of somebody who is looking around.
#
# Arguments: the parent's folder (absolute, no symbolic link in it), and "remove" or "keep" for that folder.
set -u
trap '' HUP INT
folder=$1
fate=$2
pids=''

while read -r order pid signal; do
    case $order in
    watch)
        pids="$pids $pid"
        eval "signal_$pid=\$signal"
        ;;
    esac
done

# Puts the processes that came of process $1 and are still running into the variable family: itself, its children, and
# the members of the group it leads. Those of them that work elsewhere are not ours.
find_family() {
    family=''
    for stat in /proc/[0-9]*/stat; do
        read -r line 2>/dev/null <"$stat" || continue
        member=${line%% *}
        set -- "$1" ${line##*) }
        [ "$2" = Z ] && continue
        [ "$member" = "$1" ] || [ "$3" = "$1" ] || [ "$4" = "$1" ] || continue
        case $(readlink "/proc/$member/cwd") in
        "$folder"/*) family="$family $member" ;;
        esac
    done
}

any_left() {
    for each in $pids; do
        find_family "$each"
        [ -n "$family" ] && return 0
    done
    return 1
}

# About $1 tenths of a second, or less when all have ended.
await_end() {
    tenths=$1
    while [ "$tenths" -gt 0 ] && any_left; do
        sleep 0.1
        tenths=$((tenths - 1))
    done
}

# A server whose number did not reach us before the pipe closed is still found by its lock file.
for lock in "$folder"/*/data/postmaster.pid; do
    read -r pid 2>/dev/null <"$lock" || continue
    case " $pids " in *" $pid "*) continue ;; esac
    case $pid in
    # A minus sign says that the server runs alone, fed by an initdb: it ends with that.
    '' | *[!0-9]*) ;;
    *)
        pids="$pids $pid"
        eval "signal_$pid=QUIT"
        ;;
    esac
done

for each in $pids; do
    find_family "$each"
    [ -n "$family" ] || continue
    kill -s CONT $family
    # The process itself, if it is still there; the others follow it.
    case " $family " in
    *" $each "*) eval "kill -s \$signal_$each $each" ;;
    esac
done
await_end 50
for each in $pids; do
    # A server that is stopped first bears no more children while they are counted.
    find_family "$each"
    case " $family " in
    *" $each "*) kill -s STOP "$each" ;;
    esac
    find_family "$each"
    [ -z "$family" ] || kill -s KILL $family
done
await_end 20

# A server that was killed leaves its small segment of System V memory behind, and a system has only so many. The
# seventh line of its lock file tells which it is.
for lock in "$folder"/*/data/postmaster.pid; do
    [ -f "$lock" ] || continue
    segment=$(sed -n '7s/^ *[0-9]* *\([0-9]*\)$/\1/p' "$lock")
    [ -n "$segment" ] && ipcrm -m "$segment"
done
if [ "$fate" = remove ]; then
    case $folder in
    /*/*) rm -rf -- "$folder" ;;
    esac
fi
