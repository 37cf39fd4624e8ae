# SPDX-License-Identifier: MIT
# Section-3 pages (mdoc) from a public header: one for each exported function, made from the block
# above its prototype, and one for the header, made from its opening comment and its declarations.
#
#     LC_ALL=C awk -v header=tine/pool.h -v version=0.1.0 -v date='January 1, 2026' -v to=man3 \
#         -f mkman.awk pool.h
#
# tests/scripts/docs.awk has checked the form of the blocks; here it is taken for granted.
BEGIN {
    fields = split("In:Out:Shape:Units:Returns:Handle:Give up:Blocks:Safety:Death:Source:Since", order, ":")
    for (i = 128; i < 256; i++)
        byte[sprintf("%c", i)] = i
    page_name = header
    sub(/^.*\//, "", page_name)
    page_name = "tine_" page_name
    if (header == "tine.h")
        page_name = header
    state = "before" # the opening comment, then "concept" in it, then "body", with "block"s in it
}

# The value of the UTF-8 sequence at the start of a text; its length goes to `utf8_length`.
function code_point(text,    first, value, i)
{
    first = byte[substr(text, 1, 1)]
    utf8_length = first >= 240 ? 4 : first >= 224 ? 3 : 2
    value = first % (utf8_length == 4 ? 8 : utf8_length == 3 ? 16 : 32)
    for (i = 2; i <= utf8_length; i++)
        value = value * 64 + byte[substr(text, i, 1)] % 64
    return value
}

# Text that roff takes literally.
function escape(text,    out)
{
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    gsub(/`/, "\\(ga", text)
    sub(/^[.']/, "\\\\\\&&", text)
    out = ""
    while (match(text, /[\200-\377]/)) {
        out = out substr(text, 1, RSTART - 1)
        text = substr(text, RSTART)
        out = out sprintf("\\[u%04X]", code_point(text))
        text = substr(text, utf8_length + 1)
    }
    return out text
}

function put(line)
{
    print line > file
}

function put_head(subject, what)
{
    put(".\\\" Made by mkman.awk from <" header ">; change that.")
    put(".Dd " date)
    put(".Dt " toupper(page) " 3")
    put(".Os tine " version)
    put(".Sh NAME")
    put(".Nm " subject)
    sub(/[.]$/, "", what)
    put(".Nd " escape(what))
}

# Paragraphs; what is indented by four or more is set as it stands.
function put_prose(lines, count,    i, literal, pending)
{
    for (i = 1; i <= count; i++) {
        if (lines[i] == "") {
            pending = 1
        } else if (lines[i] ~ /^    /) {
            if (!literal)
                put(".Bd -literal -offset indent")
            else if (pending)
                put("")
            literal = 1
            pending = 0
            put(escape(substr(lines[i], 5)))
        } else {
            if (literal)
                put(".Ed")
            if (literal || pending)
                put(".Pp")
            literal = pending = 0
            put(escape(lines[i]))
        }
    }
    if (literal)
        put(".Ed")
}

# The names that an entry "name  text" or "name, name  text" begins with; the text goes to `rest`.
function split_entry(entry,    word, words, j, names)
{
    words = split(entry, word, / +/)
    names = word[1]
    for (j = 2; word[j - 1] ~ /,$/ && j <= words; j++)
        names = names " " word[j]
    rest = ""
    for (; j <= words; j++)
        rest = rest (rest == "" ? "" : " ") word[j]
    return names
}

# Entries become a list; a line that begins with a blank continues the one before.
function put_arguments(label, field,    i, line, names, widest)
{
    if (is_none(field))
        return
    if (block[field, 1] ~ /^none /) { # with a remark
        put_remark(label, field)
        return
    }
    widest = "Ds"
    for (i = 1; i <= text_count[field]; i++) {
        names = split_entry(block[field, i])
        if (block[field, i] !~ /^ / && length(names) > length(widest) && length(names) < 20)
            widest = names
    }
    put(".Pp")
    put(label)
    put(".Bl -tag -width \"" widest "\" -compact")
    for (i = 1; i <= text_count[field]; i++) {
        line = block[field, i]
        if (line !~ /^ /) {
            put(".It Fa \"" escape(split_entry(line)) "\"")
            line = rest
        }
        sub(/^ +/, "", line)
        put(escape(line))
    }
    put(".El")
}

function put_field(label, field,    i, text)
{
    put(label)
    for (i = 1; i <= text_count[field]; i++) {
        text = block[field, i]
        sub(/^ +/, "", text)
        put(escape(text))
    }
}

function is_none(field)
{
    return text_count[field] == 1 && block[field, 1] == "none"
}

function put_section(heading, field)
{
    if (!is_none(field))
        put_field(".Sh " heading, field)
}

function put_synopsis(prototype,    before, parameters, count, part, i)
{
    gsub(/TINE_(API|CHECKED)/, "", prototype)
    match(prototype, /tine_[a-z0-9_]+\(/)
    before = substr(prototype, 1, RSTART - 1)
    parameters = substr(prototype, RSTART + RLENGTH)
    sub(/\).*/, "", parameters)
    gsub(/^ +| +$/, "", before)
    put(".Sh SYNOPSIS")
    put(".In " header)
    put(".Ft \"" before "\"")
    put(".Fo " name)
    count = split(parameters, part, /, */)
    for (i = 1; i <= count; i++)
        put(".Fa \"" part[i] "\"")
    put(".Fc")
}

function put_function(    i)
{
    match(prototype, /tine_[a-z0-9_]+\(/)
    name = substr(prototype, RSTART, RLENGTH - 1)
    page = name
    file = to "/" page ".3"
    put_head(name, substr(title, length(name) + 4))
    put_synopsis(prototype)
    put(".Sh DESCRIPTION")
    put_summary()
    put_arguments("Arguments:", "In")
    put_arguments("Results:", "Out")
    put_remark("Shape:", "Shape")
    put_remark("Units:", "Units")
    put_section("RETURN VALUES", "Returns")
    if (!is_none("Handle") || !is_none("Give up")) {
        put(".Sh ERRORS")
        put_remark("To be handled:", "Handle")
        put_remark("To be passed on:", "Give up")
    }
    put_section("BLOCKING", "Blocks")
    put_section("SAFETY", "Safety")
    put_section("DEATH OF A PARTICIPANT", "Death")
    put(".Sh SEE ALSO")
    put(".Xr " page_name " 3 ,")
    put(".Xr tine 7")
    put_section("STANDARDS", "Source")
    put(".Sh HISTORY")
    put("Since tine " block["Since", 1] ".")
    close(file)
    names[++name_count] = name
    summaries[name] = substr(title, length(name) + 4)
}

# What stands between the title and the fields, or the title again as a sentence.
function put_summary(    i, what)
{
    if (text_count[""] > 0) {
        for (i = 1; i <= text_count[""]; i++)
            put(escape(block["", i]))
        return
    }
    what = substr(title, length(name) + 4)
    if (what !~ /^tine_/)
        what = toupper(substr(what, 1, 1)) substr(what, 2)
    put(escape(what) ".")
}

function put_remark(label, field)
{
    if (is_none(field))
        return
    put(".Pp")
    put_field(label, field)
}

function put_header(    i, what)
{
    page = page_name
    file = to "/" page ".3"
    for (i = 1; i <= concept_count && concept[i] != ""; i++) {
        what = what (what == "" ? "" : " ") concept[i]
        if (what ~ /[.:]$/)
            break
    }
    sub(/^[A-Za-z]+: /, "", what)
    sub(/: .*|[.:]$/, "", what)
    put_head(header, what)
    put(".Sh SYNOPSIS")
    put(".In " header)
    put(".Sh DESCRIPTION")
    put_prose(concept, concept_count)
    if (name_count > 0) {
        put(".Sh FUNCTIONS")
        put(".Bl -tag -width Ds -compact")
        for (i = 1; i <= name_count; i++) {
            put(".It Xr " names[i] " 3")
            put(escape(summaries[names[i]]))
        }
        put(".El")
    }
    put_declarations()
    put(".Sh SEE ALSO")
    put(".Xr tine 7")
    close(file)
}

function put_declarations(    i, open, pending)
{
    for (i = 1; i <= declaration_count; i++) {
        if (declarations[i] == "") {
            pending = open
            continue
        }
        if (!open) {
            put(".Sh DECLARATIONS")
            put(".Bd -literal")
        }
        if (pending)
            put("")
        open = 1
        pending = 0
        put(escape(declarations[i]))
    }
    if (open)
        put(".Ed")
}

function begin_block(    key)
{
    for (key in block)
        delete block[key]
    for (key in text_count)
        delete text_count[key]
    title = field = ""
    text_count[""] = 0
}

function block_line(line,    f)
{
    for (f = 1; f <= fields; f++)
        if (index(line, order[f] ":") == 1) {
            field = order[f]
            line = substr(line, length(field) + 2)
            gsub(/^ +/, "", line)
            block[field, text_count[field] = 1] = line
            return
        }
    if (field == "" && title == "") {
        title = line
        return
    }
    if (field == "" && line == "")
        return
    sub(/^         /, "", line) # beyond it, a line goes on
    block[field, ++text_count[field]] = line
}

state == "before" && /^\/\*$/ { state = "concept"; next }
state == "concept" && /^ \*\/$/ { state = "body"; next }
state == "concept" { sub(/^ \* ?/, ""); concept[++concept_count] = $0; next }
state == "body" && /^\/\*\*/ { state = "block"; begin_block(); next }
state == "block" && /^ \*\/$/ { state = "body"; next }
state == "block" { sub(/^ \* ?/, ""); block_line($0); next }
state == "body" && (/^TINE_API/ || prototype != "") {
    prototype = prototype " " $0
    gsub(/[ \t]+/, " ", prototype)
    if (/;/) {
        put_function()
        prototype = ""
    }
    next
}
state == "body" {
    if (/^#(include|endif|ifndef TINE_[A-Z]*_H|define TINE_[A-Z]*_H$)/ || /^TINE_(BEGIN|END)_DECLS/)
        $0 = ""
    declarations[++declaration_count] = $0
}
END { put_header() }
