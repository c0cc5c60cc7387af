# bash completion for coffer: source <(coffer completion bash)
_coffer() {
    local cur words=() line word
    # COMP_WORDS are cut at : and =, which image names and options have: cut the line at blanks instead.
    local typed="${COMP_LINE:0:COMP_POINT}"
    read -ra words <<< "$typed"
    [[ "$typed" == *[[:space:]] ]] && words+=("")
    cur="${words[-1]}"
    COMPREPLY=()
    # What bash replaces is only what follows the last of its own cuts.
    local kept="${COMP_WORDS[COMP_CWORD]}"
    [[ "$kept" == [:=] ]] && kept=""
    local before="${cur%"$kept"}"
    while IFS= read -r line; do
        word="${line%%$'\t'*}"
        if [[ "$word" == ":files" ]]; then
            compopt -o filenames 2> /dev/null
            while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$kept")
            continue
        fi
        [[ "$word" == *= || "$word" == */ || "$word" == *: ]] && compopt -o nospace 2> /dev/null
        COMPREPLY+=("${word#"$before"}")
    done < <("${words[0]}" __complete -- "${words[@]:1}" 2> /dev/null)
}
complete -F _coffer coffer
