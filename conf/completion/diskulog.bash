# SPDX-License-Identifier: LGPL-2.1-or-later
# bash completes diskulog's commands, options and files. Made by tools/completion: change that, not this.

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
		[[ $word == -* ]] || { command=$word && break; }
	done
	case "$command $prev" in
	'inspect --units') words='regions sectors bytes' ;;
	'migrate --to') words='kernel diskulog' ;;
	'diff --since' | \
		'events --socket' | \
		'inspect --svg' | \
		'inspect --png' | \
		'migrate --log' | \
		'migrate --socket' | \
		'replace-log --socket' | \
		'replay --out-image' | \
		'replay --config' | \
		'serve --config' | \
		'status --socket' | \
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
		'migrate --uuid' | \
		'repair --uuid' | \
		'replay --uuid' | \
		'replay --limit' | \
		'trace --ring' | \
		'trace --uuid' | \
		'trace --seconds' | \
		'trace --count' | \
		'verify --mirror' | \
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
		'') words='adopt check diff dump events format inspect mark migrate repair replace-log replay restore serve status trace verify wait watch --version --help' ;;
		adopt) [[ $cur == -* ]] && words='--uuid --yes --dry-run --help' ;;
		check) [[ $cur == -* ]] && words='--json --quiet --help' ;;
		diff) [[ $cur == -* ]] && words='--since --json --limit --help' ;;
		dump) [[ $cur == -* ]] && words='--json --help' ;;
		events) words='--history --count --socket --schema --help' ;;
		format) [[ $cur == -* ]] && words='--uuid --region-size --regions --in-sync --overwrite --yes --dry-run --help' ;;
		inspect) [[ $cur == -* ]] && words='--json --limit --units --map --raw --svg --png --region-size --offset --rate --schema --help' ;;
		mark) [[ $cur == -* ]] && words='--regions --sectors --bytes --all --yes --dry-run --help' ;;
		migrate) [[ $cur == -* ]] && words='--to --log --uuid --overwrite --yes --dry-run --socket --help' ;;
		repair) [[ $cur == -* ]] && words='--uuid --write --overwrite --yes --help' ;;
		replace-log) [[ $cur == -* ]] && words='--overwrite --yes --dry-run --socket --help' ;;
		replay) [[ $cur == -* ]] && words='--uuid --step --json --limit --out-image --config --help' ;;
		restore) [[ $cur == -* ]] && words='--overwrite --yes --dry-run --help' ;;
		serve) words='--config --help' ;;
		status) [[ $cur == -* ]] && words='--json --socket --schema --help' ;;
		trace) words='--out --ring --uuid --seconds --count --alone --help' ;;
		verify) [[ $cur == -* ]] && words='--mirror --region-size --length --regions --rate --state --limit --json --help' ;;
		wait) [[ $cur == -* ]] && words='--synced --timeout --socket --help' ;;
		watch) [[ $cur == -* ]] && words='--interval --count --socket --help' ;;
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
