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
		[[ $word == -* ]] && continue
		command=${command:+$command }$word
		case $command in
		config) ;; # one of its commands comes next
		*) break ;;
		esac
	done
	case "$command $prev" in
	'inspect --units') words='regions sectors bytes' ;;
	'diff --since' | \
		'inspect --svg' | \
		'inspect --png' | \
		'replay --out-image' | \
		'replay --config' | \
		'serve --config' | \
		'trace --out' | \
		'verify --state') ;; # a file
	'adopt --uuid' | \
		'diff --limit' | \
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
		'verify --limit') return ;; # only the user knows
	*)
		case $command in
		'') words='adopt check config diff dump format inspect mark repair replay restore serve trace verify --version --help' ;;
		adopt) [[ $cur == -* ]] && words='--uuid --yes --dry-run --help' ;;
		check) [[ $cur == -* ]] && words='--json --quiet --help' ;;
		'config check') [[ $cur == -* ]] && words='--help' ;;
		'config show') [[ $cur == -* ]] && words='--json --help' ;;
		diff) [[ $cur == -* ]] && words='--since --json --limit --help' ;;
		dump) [[ $cur == -* ]] && words='--json --help' ;;
		format) [[ $cur == -* ]] && words='--uuid --region-size --regions --in-sync --overwrite --yes --dry-run --help' ;;
		inspect) [[ $cur == -* ]] && words='--json --limit --units --map --raw --svg --png --region-size --offset --rate --schema --help' ;;
		mark) [[ $cur == -* ]] && words='--regions --sectors --bytes --all --yes --dry-run --help' ;;
		repair) [[ $cur == -* ]] && words='--uuid --write --overwrite --yes --help' ;;
		replay) [[ $cur == -* ]] && words='--uuid --step --json --limit --out-image --config --help' ;;
		restore) [[ $cur == -* ]] && words='--overwrite --yes --dry-run --help' ;;
		serve) words='--config --help' ;;
		trace) words='--out --ring --uuid --seconds --count --alone --help' ;;
		verify) [[ $cur == -* ]] && words='--mirror --region-size --length --regions --rate --state --limit --json --help' ;;
		config) words='check show --help' ;;
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
