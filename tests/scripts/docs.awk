# SPDX-License-Identifier: MIT
# Says what is wrong with the doc blocks of public headers: awk -f docs.awk tine/*.h
# Every exported prototype needs a block above it, of this form, each field once, in this order:
#
#     /**
#      * name - what it does
#      *
#      * In:      …   Out: … Shape: … Units: … Returns: … Handle: … Give up: …
#      * Blocks:  …   Safety: … Death: … Source: … Since: …
#      */
# Each parameter stands in In or Out, and Safety uses fixed words.
BEGIN {
    fields = split("In:Out:Shape:Units:Returns:Handle:Give up:Blocks:Safety:Death:Source:Since", order, ":")
    # A remark may follow each word.
    safety = "^thread (any|one)[^|]*[|] process (shared|owner)[^|]*[|] " \
        "fork child (may call|may close|must not)[^|]*[|] signal (yes|no)"
}

function wrong(text)
{
    printf "%s:%d: %s: %s\n", FILENAME, FNR, name, text
    faults++
}

function forget(    f)
{
    title = ""
    field = ""
    next_field = 1
    disorder = ""
    for (f in content)
        delete content[f]
}

# A line within a block, without its leading " * ".
function block_line(line,    f)
{
    for (f = 1; f <= fields; f++) {
        if (index(line, order[f] ":") != 1)
            continue
        if (f != next_field)
            disorder = disorder " " order[f]
        next_field = f + 1
        field = order[f]
        line = substr(line, length(field) + 2)
    }
    if (field != "")
        content[field] = content[field] " " line
    else if (title == "" && line ~ /^tine_/)
        title = line
}

function check_parameters(parameters,    n, part, i, word)
{
    n = split(parameters, part, /,/)
    for (i = 1; i <= n; i++) {
        word = part[i]
        gsub(/[ \t]+$|\[.*$/, "", word)
        sub(/^.*[ *]/, "", word)
        if (word == "void" || word == "...")
            continue
        if (index(content["In"] " " content["Out"], word) == 0)
            wrong("parameter " word " is in neither In nor Out")
    }
}

function check_block(    f, text)
{
    if (title == "") {
        wrong("no doc block")
        return
    }
    if (index(title, name " - ") != 1)
        wrong("the block above is that of \"" title "\"")
    if (disorder != "")
        wrong("fields out of order or missing before:" disorder)
    for (f = 1; f <= fields; f++) {
        text = content[order[f]]
        gsub(/^ +| +$/, "", text)
        gsub(/ +/, " ", text)
        if (text == "")
            wrong("no text for " order[f])
        else if (order[f] == "Safety" && text !~ safety)
            wrong("Safety is not in the fixed words: " text)
        else if (order[f] == "Since" && text !~ /^[0-9]+[.][0-9]+$/)
            wrong("Since is no version: " text)
    }
}

FNR == 1 { forget(); in_block = 0; prototype = "" }

/^\/\*\*/ { forget(); in_block = 1; next }
in_block && /\*\// { in_block = 0; next }
in_block {
    sub(/^ \* ?/, "")
    block_line($0)
    next
}

/^TINE_API/ || prototype != "" {
    prototype = prototype " " $0
    if ($0 !~ /;/)
        next
    match(prototype, /tine_[a-z0-9_]+\(/)
    name = substr(prototype, RSTART, RLENGTH - 1)
    parameters = substr(prototype, RSTART + RLENGTH)
    sub(/\).*/, "", parameters)
    check_block()
    if (title != "")
        check_parameters(parameters)
    prototypes++
    prototype = ""
    forget()
}

END {
    if (prototypes == 0) {
        print "no exported prototype found"
        exit 1
    }
    printf "%d prototypes, %d faults\n", prototypes, faults
    exit faults > 0
}
