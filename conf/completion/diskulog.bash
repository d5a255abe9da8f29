# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completes diskulog's commands, options and files. Made by tools/completion: change that, not this.

_diskulog_mirrors() {
	dmsetup table --target mirror 2>/dev/null | sed -n 's/: .*//p'
}

_diskulog() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command='' prefix='' word words=''
	COMPREPLY=()
	# --units=bytes is three words where = breaks them, and one where it does not
	if [[ $cur == '=' ]]; then
		cur=''
	elif [[ $prev == '=' ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	elif [[ $cur == --*=* ]]; then
		prev=${cur%%=*} prefix=${cur%%=*}= cur=${cur#*=}
	fi
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		[[ $word == -* ]] && continue
		command=${command:+$command }$word
		case $command in
		config | mirror) ;; # one of its commands comes next
		*) break ;;
		esac
	done
	case "$command $prev" in
	'inspect --units') words='regions sectors bytes' ;;
	'migrate --to') words='kernel diskulog' ;;
	'verify --mirror') [[ $cur == [/.]* ]] || words=$(_diskulog_mirrors) ;;
	'diff --since' | \
		'doctor --config' | \
		'events --socket' | \
		'inspect --svg' | \
		'inspect --png' | \
		'metrics --textfile' | \
		'metrics --socket' | \
		'migrate --log' | \
		'migrate --socket' | \
		'mirror assemble --file' | \
		'mirror create --log' | \
		'replace-log --socket' | \
		'replay --out-image' | \
		'replay --config' | \
		'serve --config' | \
		'status --socket' | \
		'table --log' | \
		'trace --out' | \
		'verify --state' | \
		'wait --socket' | \
		'watch --socket') ;; # a file
	'adopt --uuid' | \
		'diff --limit' | \
		'events --history' | \
		'events --count' | \
		'format --uuid' | \
		'format --region-size' | \
		'format --regions' | \
		'inspect --limit' | \
		'inspect --region-size' | \
		'inspect --offset' | \
		'inspect --rate' | \
		'mark --regions' | \
		'mark --sectors' | \
		'mark --bytes' | \
		'metrics --interval' | \
		'metrics --listen' | \
		'migrate --uuid' | \
		'mirror assemble --wait' | \
		'mirror create --uuid' | \
		'mirror create --region-size' | \
		'mirror create --length' | \
		'repair --uuid' | \
		'replay --uuid' | \
		'replay --limit' | \
		'table --uuid' | \
		'table --region-size' | \
		'table --length' | \
		'trace --ring' | \
		'trace --uuid' | \
		'trace --seconds' | \
		'trace --count' | \
		'verify --region-size' | \
		'verify --length' | \
		'verify --regions' | \
		'verify --rate' | \
		'verify --limit' | \
		'wait --timeout' | \
		'watch --interval' | \
		'watch --count') return ;; # only the user knows
	*)
		case $command in
		'') words='adopt check config diff doctor dump events format inspect mark metrics migrate mirror repair replace-log replay restore serve status table trace verify wait watch --version --help' ;;
		adopt) [[ $cur == -* ]] && words='--uuid --yes --dry-run --help' ;;
		check) [[ $cur == -* ]] && words='--json --quiet --schema --help' ;;
		'config check') [[ $cur == -* ]] && words='--help' ;;
		'config show') [[ $cur == -* ]] && words='--json --schema --help' ;;
		diff) [[ $cur == -* ]] && words='--since --json --limit --schema --help' ;;
		doctor) words='--json --config --schema --help' ;;
		dump) [[ $cur == -* ]] && words='--json --schema --help' ;;
		events) words='--history --count --socket --schema --help' ;;
		format) [[ $cur == -* ]] && words='--uuid --region-size --regions --in-sync --overwrite --yes --dry-run --help' ;;
		inspect) [[ $cur == -* ]] && words='--json --limit --units --map --raw --svg --png --region-size --offset --rate --schema --help' ;;
		mark) [[ $cur == -* ]] && words='--regions --sectors --bytes --all --yes --dry-run --help' ;;
		metrics) words='--textfile --interval --listen --yes-it-is-public --socket --help' ;;
		migrate) [[ $cur == -* ]] && words='--to --log --uuid --overwrite --yes --dry-run --socket --help' || [[ $cur == [/.]* ]] || words=$(_diskulog_mirrors) ;;
		'mirror assemble') [[ $cur == -* ]] && words='--file --wait --dry-run --help' || [[ $cur == [/.]* ]] || words=$(_diskulog_mirrors) ;;
		'mirror create') [[ $cur == -* ]] && words='--log --core --uuid --region-size --length --keep-log --sync --nosync --plain --yes --dry-run --help' ;;
		'mirror list') words='--json --schema --help' ;;
		'mirror remove') [[ $cur == -* ]] && words='--all --dry-run --help' || [[ $cur == [/.]* ]] || words=$(_diskulog_mirrors) ;;
		'mirror save') [[ $cur == -* ]] && words='--help' || [[ $cur == [/.]* ]] || words=$(_diskulog_mirrors) ;;
		repair) [[ $cur == -* ]] && words='--uuid --write --overwrite --yes --help' ;;
		replace-log) [[ $cur == -* ]] && words='--overwrite --yes --dry-run --socket --help' || [[ $cur == [/.]* ]] || words=$(_diskulog_mirrors) ;;
		replay) [[ $cur == -* ]] && words='--uuid --step --json --limit --out-image --config --schema --help' ;;
		restore) [[ $cur == -* ]] && words='--overwrite --yes --dry-run --help' ;;
		serve) words='--config --help' ;;
		status) [[ $cur == -* ]] && words='--json --socket --schema --help' || [[ $cur == [/.]* ]] || words=$(_diskulog_mirrors) ;;
		table) [[ $cur == -* ]] && words='--log --core --uuid --region-size --length --keep-log --sync --nosync --plain --help' ;;
		trace) words='--out --ring --uuid --seconds --count --alone --schema --help' ;;
		verify) [[ $cur == -* ]] && words='--mirror --region-size --length --regions --rate --state --limit --json --schema --help' ;;
		wait) [[ $cur == -* ]] && words='--synced --timeout --socket --help' || [[ $cur == [/.]* ]] || words=$(_diskulog_mirrors) ;;
		watch) [[ $cur == -* ]] && words='--interval --count --socket --help' || [[ $cur == [/.]* ]] || words=$(_diskulog_mirrors) ;;
		config) words='check show --help' ;;
		mirror) words='assemble create list remove save --help' ;;
		*) return ;;
		esac
		;;
	esac
	if [[ -n $words ]]; then
		mapfile -t COMPREPLY < <(compgen -P "$prefix" -W "$words" -- "$cur")
	elif [[ -n $command ]]; then
		compopt -o filenames 2>/dev/null # quotes what it must, and says where a folder is
		mapfile -t COMPREPLY < <(compgen -P "$prefix" -f -- "$cur")
	fi
}
complete -F _diskulog diskulog
