# SPDX-License-Identifier: LGPL-2.1-or-later
# fish completes diskulog's commands, options and files. Made by tools/completion: change that, not this.

function __diskulog_is --description 'Tell whether the command so far is this one'
    set -l words (commandline -opc)
    set -e words[1]
    set -l found
    for word in $words
        string match -q -- '-*' $word; and continue
        set -a found $word
        contains -- "$found" config; or break
    end
    test "$found" = "$argv"
end

complete -c diskulog -f
complete -c diskulog -n '__diskulog_is' -a adopt -d 'Take a log back from the kernel\'s own \'disk\' log'
complete -c diskulog -n '__diskulog_is' -a check -d 'Judge a log: what it breaks, what that means, what to do'
complete -c diskulog -n '__diskulog_is' -a config -d 'Look at the daemon\'s configuration; nothing is changed'
complete -c diskulog -n '__diskulog_is' -a diff -d 'Show what changed from one log to another'
complete -c diskulog -n '__diskulog_is' -a dump -d 'Print a log as text, for version control, and for \'restore\''
complete -c diskulog -n '__diskulog_is' -a format -d 'Make a fresh log, of which every region is dirty'
complete -c diskulog -n '__diskulog_is' -a inspect -d 'Show what a log says: which regions are clean, dirty, in sync'
complete -c diskulog -n '__diskulog_is' -a mark -d 'Mark regions dirty by hand'
complete -c diskulog -n '__diskulog_is' -a repair -d 'Make a new log from a damaged one, dirty wherever in doubt'
complete -c diskulog -n '__diskulog_is' -a replay -d 'Show what a trace holds, or run it against an image of the log'
complete -c diskulog -n '__diskulog_is' -a restore -d 'Make a log of a dump again'
complete -c diskulog -n '__diskulog_is' -a serve -d 'Answer the kernel\'s log requests, in the foreground'
complete -c diskulog -n '__diskulog_is' -a trace -d 'Record what the kernel asks a running daemon'
complete -c diskulog -n '__diskulog_is' -a verify -d 'Compare the legs of a mirror where its log calls them equal'
complete -c diskulog -n '__diskulog_is config' -a check -d 'Say everything that is wrong with a configuration'
complete -c diskulog -n '__diskulog_is config' -a show -d 'Show every value in effect, its unit, and where it comes from'
complete -c diskulog -n '__diskulog_is config' -l help -d 'Say what it does and end'
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
complete -c diskulog -n '__diskulog_is config check' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is config check' -F
complete -c diskulog -n '__diskulog_is config show' -l json -d 'Print JSON, for scripts'
complete -c diskulog -n '__diskulog_is config show' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is config show' -F
complete -c diskulog -n '__diskulog_is diff' -l since -r -F -d 'What to compare with, in place of a first word'
complete -c diskulog -n '__diskulog_is diff' -l json -d 'Print JSON, for scripts'
complete -c diskulog -n '__diskulog_is diff' -l limit -x -d 'Show N ranges of each kind; 0: all'
complete -c diskulog -n '__diskulog_is diff' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is diff' -F
complete -c diskulog -n '__diskulog_is dump' -l json -d 'Print JSON, for scripts'
complete -c diskulog -n '__diskulog_is dump' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is dump' -F
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
complete -c diskulog -n '__diskulog_is repair' -l uuid -x -d 'The uuid in the mirror\'s table'
complete -c diskulog -n '__diskulog_is repair' -l write -d 'Do it, after asking'
complete -c diskulog -n '__diskulog_is repair' -l overwrite -d 'Whatever lies there now is lost'
complete -c diskulog -n '__diskulog_is repair' -l yes -d 'Do not ask'
complete -c diskulog -n '__diskulog_is repair' -l help -d 'Say what it does and end'
complete -c diskulog -n '__diskulog_is repair' -F
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
