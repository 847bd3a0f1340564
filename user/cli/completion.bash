# bash completion of cowtrace                               -*- shell-script -*-
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause

_cowtrace() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} i
	local options='-p --pid -d --duration -i --interval --by --no-follow --hook --json --faults --stacks
		--plain --ring -v --verbose -V --version --help --'

	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ ${COMP_WORDS[i]} == -- ]]; then # what follows is a command of its own
			if ((i == COMP_CWORD - 1)); then
				mapfile -t COMPREPLY < <(compgen -c -- "$cur")
			else
				mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			fi
			return
		fi
	done
	# readline splits --by=cell at the "="
	if [[ $cur == '=' ]]; then
		cur=
	elif [[ $prev == '=' ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	case $prev in
	-p | --pid) mapfile -t COMPREPLY < <(compgen -W "$(cd /proc && echo [0-9]*)" -- "$cur") ;;
	--by) mapfile -t COMPREPLY < <(compgen -W 'cell cause type writer page process line function module' -- "$cur") ;;
	--hook) mapfile -t COMPREPLY < <(compgen -W 'auto fexit kprobe tracepoint' -- "$cur") ;;
	--json | --faults) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
	--stacks) mapfile -t COMPREPLY < <(compgen -W '1 4 16 64' -- "$cur") ;;
	--ring) mapfile -t COMPREPLY < <(compgen -W '4M 16M 64M 256M' -- "$cur") ;;
	-d | --duration | -i | --interval) ;;
	*)
		if ((COMP_CWORD == 1)) && [[ $cur != -* ]]; then options="doctor $options"; fi
		mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
		;;
	esac
}
complete -F _cowtrace cowtrace
