#compdef coffer
# zsh completion for coffer: in a directory of $fpath as _coffer, or source <(coffer completion zsh)
_coffer() {
    local line word
    local -a found
    while IFS= read -r line; do
        word="${line%%$'\t'*}"
        if [[ "$word" == ":files" ]]; then
            _files
            continue
        fi
        if [[ "$line" == *$'\t'* ]]; then
            found+=("${word//:/\\:}:${line#*$'\t'}")
        else
            found+=("${word//:/\\:}")
        fi
    done < <("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2> /dev/null)
    (( ${#found} )) && _describe -V 'coffer' found
}
if [ "${funcstack[1]}" = "_coffer" ]; then
    _coffer "$@"
else
    compdef _coffer coffer
fi
