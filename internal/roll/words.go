package roll

import "strings"

// maxMessage bounds the text of a message and of a scheduler line.
const maxMessage = 4096

// pair is one key=value of a message.
type pair struct {
	key, value string
	quoted     bool
}

// pairs reads key=value pairs with blanks between. A value may stand in double
// quotes, in which \" and \\ stand for themselves. Where it does not, a unit may
// follow its number after blanks, as the manual's grammar has it ("25 TB"): a
// word without "=" belongs to the plain value before it.
func pairs(text string) ([]pair, error) {
	if len(text) > maxMessage {
		return nil, wrong("the parameters are %d bytes long", len(text)).WithHint("write up to %d", maxMessage)
	}
	var all []pair
	rest := strings.TrimLeft(text, blanks)
	for rest != "" {
		word := rest
		if i := strings.IndexAny(rest, blanks+"="); i >= 0 {
			word = rest[:i]
		}
		rest = rest[len(word):]
		if !strings.HasPrefix(rest, "=") {
			if len(all) == 0 || all[len(all)-1].quoted || word == "" || strings.Contains(word, `"`) {
				return nil, wrong("%q is not of the form key=value", word+rest).WithHint("write pairs with blanks between, like type=meta,session maxSize=25TB")
			}
			all[len(all)-1].value += " " + word
			rest = strings.TrimLeft(rest, blanks)
			continue
		}
		if word == "" {
			return nil, wrong("a key is missing before %q", rest).WithHint("write pairs with blanks between, like type=meta,session maxSize=25TB")
		}
		value, after, err := takeValue(rest[1:])
		if err != nil {
			return nil, err
		}
		all = append(all, pair{word, value, strings.HasPrefix(rest, `="`)})
		rest = strings.TrimLeft(after, blanks)
	}
	return all, nil
}

// blanks are what may stand between words.
const blanks = " \t\r\n"

// takeValue cuts a value, quoted or plain, from the front of text.
func takeValue(text string) (value, rest string, err error) {
	quoted, ok := strings.CutPrefix(text, `"`)
	if !ok {
		end := strings.IndexAny(text, blanks)
		if end < 0 {
			end = len(text)
		}
		if strings.Contains(text[:end], `"`) {
			return "", "", wrong("a quote stands inside %q", text[:end]).WithHint(`quote the whole value, like params="type=packet days=7"; inside quotes write \" for a quote`)
		}
		return text[:end], text[end:], nil
	}
	var b strings.Builder
	for i := 0; i < len(quoted); i++ {
		switch c := quoted[i]; {
		case c == '\\' && i+1 < len(quoted) && (quoted[i+1] == '"' || quoted[i+1] == '\\'):
			i++
			b.WriteByte(quoted[i])
		case c == '"':
			rest = quoted[i+1:]
			if rest != "" && !strings.ContainsAny(rest[:1], blanks) {
				return "", "", wrong("%q follows a closing quote", rest).WithHint("put a blank behind each value")
			}
			return b.String(), rest, nil
		default:
			b.WriteByte(c)
		}
	}
	return "", "", wrong("the quote before %q is not closed", quoted).WithHint(`inside quotes write \" for a quote`)
}

// quote puts a value in quotes where it needs them.
func quote(value string) string {
	if value != "" && !strings.ContainsAny(value, blanks+`"`) {
		return value
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}
