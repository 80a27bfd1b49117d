"""What sets a shell up to ask ``cai --complete`` at each TAB. If nothing is answered, names of files are completed."""

from __future__ import annotations

BASH = """\
_cai_complete() {
    local IFS=$'\\n'
    COMPREPLY=($(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        "${COMP_WORDS[0]}" --complete bash 2>/dev/null))
}
complete -o nospace -o default -F _cai_complete cai
"""

ZSH = """\
_cai_complete() {
    local line word shown
    local -a whole open whole_shown open_shown
    for line in "${(@f)$(COMP_LINE="${(j: :)words[1,CURRENT-1]} $PREFIX" ${words[1]} --complete zsh 2>/dev/null)}"; do
        [[ -z $line ]] && continue
        word=${line%%$'\t'*}
        shown=${line//$'\t'/  -- }
        if [[ $word == *[=./] ]]; then open+=("$word"); open_shown+=("$shown")
        else whole+=("$word"); whole_shown+=("$shown"); fi
    done
    if (( $#whole + $#open )); then
        compadd -l -d whole_shown -a whole
        compadd -l -S '' -d open_shown -a open
    else
        compset -P '*='
        _files
    fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _cai_complete cai
"""

FISH = """\
function _cai_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l found (COMP_LINE="$words" $words[1] --complete fish 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        set -l key (string match -r '^.*=' -- $words[-1])
        for path in (__fish_complete_path (string replace -r '^.*=' '' -- $words[-1]))
            echo $key$path
        end
    end
end
complete -c cai -f -a '(_cai_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
"""Shell → the lines that it evaluates when it starts."""
