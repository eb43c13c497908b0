package dialect

import "strings"

// Blank makes a table from the definition of another, its indexes named after
// it.
func (l *lite) Blank(t *Table, name string, archived map[string]string) []string {
	all := []string{l.retitled(t.create, name, archived)}
	suffix := strings.TrimPrefix(name, t.Name)
	for _, i := range t.indexes {
		all = append(all, "CREATE "+i.unique+"INDEX "+l.Column(suffixed(again.ReplaceAllString(i.name, ""), suffix+"_filed"))+
			" ON "+l.Quote(name)+i.rest[strings.Index(i.rest, "("):])
	}
	return all
}

// View makes the view anew, in a transaction.
func (l *lite) View(t *Table, archived []string) []string { return l.allView(t, archived) }

// Quiet returns nothing: Still keeps triggers silent in the transaction.
func (*lite) Quiet(*Table) []string { return nil }

// retitled returns the definition of a table under another name, with the
// tables that REFERENCES name replaced as names says.
func (l *lite) retitled(create, name string, names map[string]string) string {
	var text strings.Builder
	before, titled := "", false
	for rest := create; rest != ""; {
		token := firstToken(rest)
		rest = rest[len(token):]
		switch {
		case strings.EqualFold(before, "TABLE") && !titled && !isBlank(token):
			titled = true
			token = l.Quote(name)
		case strings.EqualFold(before, "REFERENCES") && !isBlank(token):
			for from, to := range names {
				if strings.EqualFold(from, unquoted(token)) {
					token = l.Quote(to)
					break
				}
			}
			before = ""
		}
		if !isBlank(token) {
			before = token
		}
		text.WriteString(token)
	}
	return text.String()
}

func isBlank(token string) bool {
	return strings.TrimSpace(token) == "" || strings.HasPrefix(token, "--") || strings.HasPrefix(token, "/*")
}

// unquoted returns the name that a token writes.
func unquoted(token string) string {
	if len(token) < 2 || strings.IndexByte("\"`['", token[0]) < 0 {
		return token
	}
	end := token[len(token)-1:]
	return strings.ReplaceAll(token[1:len(token)-1], end+end, end)
}

// firstToken returns the word, the quoted text, the comment, the blank or the
// sign that text begins with.
func firstToken(text string) string {
	closing := map[byte]string{'"': `"`, '`': "`", '\'': "'", '[': "]"}[text[0]]
	switch {
	case closing != "":
		for i := 1; i < len(text); i++ {
			if text[i] != closing[0] {
				continue
			}
			if closing != "]" && strings.HasPrefix(text[i+1:], closing) {
				i++
				continue
			}
			return text[:i+1]
		}
		return text
	case strings.HasPrefix(text, "--"):
		return upTo(text, "\n")
	case strings.HasPrefix(text, "/*"):
		return upTo(text, "*/")
	}
	end := strings.IndexFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n\f()[],;.+-*/<>=|&%~'\"`", r) })
	switch {
	case end < 0:
		return text
	case end == 0:
		return text[:1]
	}
	return text[:end]
}

func upTo(text, end string) string {
	if at := strings.Index(text, end); at >= 0 {
		return text[:at+len(end)]
	}
	return text
}
