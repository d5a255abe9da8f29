# SPDX-License-Identifier: LGPL-2.1-or-later
# fish completes diskulog's commands, options and files. Made by tools/completion: change that, not this.

function __diskulog_is --description 'Tell whether the command so far is this one'
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        if not string match -q -- '-*' $word
            test "$word" = "$argv[1]"
            return
        end
    end
    test -z "$argv[1]"
end

complete -c diskulog -f
complete -c diskulog -n '__diskulog_is' -a adopt -d 'Take a log back from the kernel\'s own \'disk\' log'
complete -c diskulog -n '__diskulog_is' -a check -d 'Judge a log: what it breaks, what that means, what to do'
complete -c diskulog -n '__diskulog_is' -a diff -d 'Show what changed from one log to another'
complete -c diskulog -n '__diskulog_is' -a dump -d 'Print a log as text, for version control, and for \'restore\''
complete -c diskulog -n '__diskulog_is' -a events -d 'Print what happens to the daemon\'s logs, a line of JSON each, as it happens'
complete -c diskulog -n '__diskulog_is' -a format -d 'Make a fresh log, of which every region is dirty'
complete -c diskulog -n '__diskulog_is' -a inspect -d 'Show what a log says: which regions are clean, dirty, in sync'
complete -c diskulog -n '__diskulog_is' -a mark -d 'Mark regions dirty by hand'
complete -c diskulog -n '__diskulog_is' -a migrate -d 'Move a live mirror between the kernel\'s own log and diskulog'
complete -c diskulog -n '__diskulog_is' -a repair -d 'Make a new log from a damaged one, dirty wherever in doubt'
complete -c diskulog -n '__diskulog_is' -a replace-log -d 'Move a live mirror to another log device'
complete -c diskulog -n '__diskulog_is' -a replay -d 'Show what a trace holds, or run it against an image of the log'
complete -c diskulog -n '__diskulog_is' -a restore -d 'Make a log of a dump again'
complete -c diskulog -n '__diskulog_is' -a serve -d 'Answer the kernel\'s log requests, in the foreground'
complete -c diskulog -n '__diskulog_is' -a status -d 'Show the running daemon and its logs: how each stands, what it did, how fast'
complete -c diskulog -n '__diskulog_is' -a trace -d 'Record what the kernel asks a running daemon'
complete -c diskulog -n '__diskulog_is' -a verify -d 'Compare the legs of a mirror where its log calls them equal'
complete -c diskulog -n '__diskulog_is' -a wait -d 'Wait until mirrors are in sync'
complete -c diskulog -n '__diskulog_is' -a watch -d 'Watch resyncs: how far, how fast, how long still'
complete -c diskulog -n '__diskulog_is' -l version -d 'Print the version'
complete -c diskulog -n '__diskulog_is' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is adopt' -l uuid -x -d 'The uuid in the mirror\'s table from now on'
complete -c diskulog -n '__diskulog_is adopt' -l yes -d 'Do not ask'
complete -c diskulog -n '__diskulog_is adopt' -l dry-run -d 'Only say what would be done'
complete -c diskulog -n '__diskulog_is adopt' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is adopt' -F
complete -c diskulog -n '__diskulog_is check' -l json -d 'Print JSON, for scripts'
complete -c diskulog -n '__diskulog_is check' -l quiet -d 'Print nothing; the exit code says it'
complete -c diskulog -n '__diskulog_is check' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is check' -F
complete -c diskulog -n '__diskulog_is diff' -l since -r -F -d 'What to compare with, in place of a first word'
complete -c diskulog -n '__diskulog_is diff' -l json -d 'Print JSON, for scripts'
complete -c diskulog -n '__diskulog_is diff' -l limit -x -d 'Show N ranges of each kind; 0: all'
complete -c diskulog -n '__diskulog_is diff' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is diff' -F
complete -c diskulog -n '__diskulog_is dump' -l json -d 'Print JSON, for scripts'
complete -c diskulog -n '__diskulog_is dump' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is dump' -F
complete -c diskulog -n '__diskulog_is events' -l history -x -d 'Begin with up to N events that were'
complete -c diskulog -n '__diskulog_is events' -l count -x -d 'End after N events'
complete -c diskulog -n '__diskulog_is events' -l socket -r -F -d 'The daemon\'s control socket, in place of run_directory\'s'
complete -c diskulog -n '__diskulog_is events' -l schema -d 'Print the schema of a line and end'
complete -c diskulog -n '__diskulog_is events' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is format' -l uuid -x -d 'The uuid in the mirror\'s table'
complete -c diskulog -n '__diskulog_is format' -l region-size -x -d 'Of 512 bytes; a power of two'
complete -c diskulog -n '__diskulog_is format' -l regions -x -d 'How many the mirror has'
complete -c diskulog -n '__diskulog_is format' -l in-sync -d 'The legs are equal already; nothing is copied'
complete -c diskulog -n '__diskulog_is format' -l overwrite -d 'Whatever lies there now is lost'
complete -c diskulog -n '__diskulog_is format' -l yes -d 'Do not ask'
complete -c diskulog -n '__diskulog_is format' -l dry-run -d 'Only say what would be done'
complete -c diskulog -n '__diskulog_is format' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is format' -F
complete -c diskulog -n '__diskulog_is inspect' -l json -d 'Print JSON, for scripts'
complete -c diskulog -n '__diskulog_is inspect' -l limit -x -d 'Show N ranges of each kind; 0: all'
complete -c diskulog -n '__diskulog_is inspect' -l units -x -a 'regions sectors bytes' -d 'Count ranges in regions, sectors or bytes'
complete -c diskulog -n '__diskulog_is inspect' -l map -d 'Draw where the dirty regions are'
complete -c diskulog -n '__diskulog_is inspect' -l raw -d 'Dump header and extension field by field'
complete -c diskulog -n '__diskulog_is inspect' -l svg -r -F -d 'Draw a picture into this file'
complete -c diskulog -n '__diskulog_is inspect' -l png -r -F -d 'The same as points'
complete -c diskulog -n '__diskulog_is inspect' -l region-size -x -d 'The mirror\'s, where the log does not store it'
complete -c diskulog -n '__diskulog_is inspect' -l offset -x -d 'Where in DEV the log begins'
complete -c diskulog -n '__diskulog_is inspect' -l rate -x -d 'What a resync copies in a second'
complete -c diskulog -n '__diskulog_is inspect' -l schema -d 'Print the schema of the JSON and end'
complete -c diskulog -n '__diskulog_is inspect' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is inspect' -F
complete -c diskulog -n '__diskulog_is mark' -l regions -x -d 'Regions'
complete -c diskulog -n '__diskulog_is mark' -l sectors -x -d 'Sectors of the mirror'
complete -c diskulog -n '__diskulog_is mark' -l bytes -x -d 'Bytes of the mirror'
complete -c diskulog -n '__diskulog_is mark' -l all -d 'The whole mirror'
complete -c diskulog -n '__diskulog_is mark' -l yes -d 'Do not ask'
complete -c diskulog -n '__diskulog_is mark' -l dry-run -d 'Only say what would be done'
complete -c diskulog -n '__diskulog_is mark' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is mark' -F
complete -c diskulog -n '__diskulog_is migrate' -l to -x -a 'kernel diskulog' -d 'kernel or diskulog'
complete -c diskulog -n '__diskulog_is migrate' -l log -r -F -d 'A log device in place of its own'
complete -c diskulog -n '__diskulog_is migrate' -l uuid -x -d 'The uuid in the new table, where the log has none yet'
complete -c diskulog -n '__diskulog_is migrate' -l overwrite -d 'Whatever lies there now is lost'
complete -c diskulog -n '__diskulog_is migrate' -l yes -d 'Do not ask'
complete -c diskulog -n '__diskulog_is migrate' -l dry-run -d 'Only say what would be done'
complete -c diskulog -n '__diskulog_is migrate' -l socket -r -F -d 'The daemon\'s control socket, in place of run_directory\'s'
complete -c diskulog -n '__diskulog_is migrate' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is migrate' -F
complete -c diskulog -n '__diskulog_is repair' -l uuid -x -d 'The uuid in the mirror\'s table'
complete -c diskulog -n '__diskulog_is repair' -l write -d 'Do it, after asking'
complete -c diskulog -n '__diskulog_is repair' -l overwrite -d 'Whatever lies there now is lost'
complete -c diskulog -n '__diskulog_is repair' -l yes -d 'Do not ask'
complete -c diskulog -n '__diskulog_is repair' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is repair' -F
complete -c diskulog -n '__diskulog_is replace-log' -l overwrite -d 'Whatever lies there now is lost'
complete -c diskulog -n '__diskulog_is replace-log' -l yes -d 'Do not ask'
complete -c diskulog -n '__diskulog_is replace-log' -l dry-run -d 'Only say what would be done'
complete -c diskulog -n '__diskulog_is replace-log' -l socket -r -F -d 'The daemon\'s control socket, in place of run_directory\'s'
complete -c diskulog -n '__diskulog_is replace-log' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is replace-log' -F
complete -c diskulog -n '__diskulog_is replay' -l uuid -x -d 'Only the log with this uuid'
complete -c diskulog -n '__diskulog_is replay' -l step -d 'Wait for Enter after each request; q ends'
complete -c diskulog -n '__diskulog_is replay' -l json -d 'Print JSON, a line for each request'
complete -c diskulog -n '__diskulog_is replay' -l limit -x -d 'Stop after N requests'
complete -c diskulog -n '__diskulog_is replay' -l out-image -r -F -d 'Write the result to this new file'
complete -c diskulog -n '__diskulog_is replay' -l config -r -F -d 'The daemon\'s; without it, defaults'
complete -c diskulog -n '__diskulog_is replay' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is replay' -F
complete -c diskulog -n '__diskulog_is restore' -l overwrite -d 'Whatever lies there now is lost'
complete -c diskulog -n '__diskulog_is restore' -l yes -d 'Do not ask'
complete -c diskulog -n '__diskulog_is restore' -l dry-run -d 'Only say what would be done'
complete -c diskulog -n '__diskulog_is restore' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is restore' -F
complete -c diskulog -n '__diskulog_is serve' -l config -r -F -d 'Default: DISKULOG_CONFIG, /etc/diskulog/diskulog.toml'
complete -c diskulog -n '__diskulog_is serve' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is status' -l json -d 'Print JSON, for scripts'
complete -c diskulog -n '__diskulog_is status' -l socket -r -F -d 'The daemon\'s control socket, in place of run_directory\'s'
complete -c diskulog -n '__diskulog_is status' -l schema -d 'Print the schema of the JSON and end'
complete -c diskulog -n '__diskulog_is status' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is status' -F
complete -c diskulog -n '__diskulog_is trace' -l out -r -F -d 'A new file, written as requests come'
complete -c diskulog -n '__diskulog_is trace' -l ring -x -d 'Keep the last N in memory; written at the end, and at SIGUSR1'
complete -c diskulog -n '__diskulog_is trace' -l uuid -x -d 'Only the log with this uuid'
complete -c diskulog -n '__diskulog_is trace' -l seconds -x -d 'End after so long'
complete -c diskulog -n '__diskulog_is trace' -l count -x -d 'End after so many requests'
complete -c diskulog -n '__diskulog_is trace' -l alone -d 'Also when no daemon answers'
complete -c diskulog -n '__diskulog_is trace' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is verify' -l mirror -x -d 'Find log, legs and sizes in \'dmsetup table NAME\''
complete -c diskulog -n '__diskulog_is verify' -l region-size -x -d 'Region size, where the log does not know it'
complete -c diskulog -n '__diskulog_is verify' -l length -x -d 'Length of the mirror, where the log does not know it'
complete -c diskulog -n '__diskulog_is verify' -l regions -x -d 'Only these regions'
complete -c diskulog -n '__diskulog_is verify' -l rate -x -d 'At most so much of each leg a second: 50M'
complete -c diskulog -n '__diskulog_is verify' -l state -r -F -d 'Keep here how far it came, and go on from there'
complete -c diskulog -n '__diskulog_is verify' -l limit -x -d 'Show N differing ranges; 0: all'
complete -c diskulog -n '__diskulog_is verify' -l json -d 'Print JSON, for scripts'
complete -c diskulog -n '__diskulog_is verify' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is verify' -F
complete -c diskulog -n '__diskulog_is wait' -l synced -d 'What to wait for'
complete -c diskulog -n '__diskulog_is wait' -l timeout -x -d 'Give up after so long'
complete -c diskulog -n '__diskulog_is wait' -l socket -r -F -d 'The daemon\'s control socket, in place of run_directory\'s'
complete -c diskulog -n '__diskulog_is wait' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is wait' -F
complete -c diskulog -n '__diskulog_is watch' -l interval -x -d 'Look again after so long'
complete -c diskulog -n '__diskulog_is watch' -l count -x -d 'End after N looks'
complete -c diskulog -n '__diskulog_is watch' -l socket -r -F -d 'The daemon\'s control socket, in place of run_directory\'s'
complete -c diskulog -n '__diskulog_is watch' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is watch' -F
