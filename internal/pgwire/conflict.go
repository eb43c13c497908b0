package pgwire

import "bytes"

// tail reads what may stand behind VALUES: ON CONFLICT DO NOTHING, and the end
// of the statement. It reports whether the rows yield.
func (l *lexer) tail() (yields bool, err error) {
	if w := l.word(); fold(w, "on") {
		at := l.pos
		if !l.keywords("on", "conflict") {
			l.keyword("on")
			return false, l.syntax()
		}
		if yields = l.keywords("do", "nothing"); !yields {
			hint := "ON CONFLICT DO NOTHING is taken; sinks follow it when they write the row, and rows are never updated"
			if l.at(0) == '(' || fold(l.word(), "on") {
				hint = "name no columns and no constraint: ON CONFLICT DO NOTHING is taken, and rows are never updated"
			}
			l.pos = at
			return false, l.refuse("this ON CONFLICT is not taken", hint)
		}
	}
	if fold(l.word(), "returning") {
		return false, l.refuse("RETURNING is not answered", "a row gets the sink's values (ids, defaults) only when it is delivered: generate ids in the client")
	}
	return yields, l.wantEnd()
}

// seemsToYield reports whether the query ends in NOTHING: then its last rows
// most likely yield, which is only known once they are read.
func seemsToYield(src []byte) bool {
	src = bytes.TrimRight(src, "; \t\r\n")
	n := len(src) - len("nothing")
	return n > 0 && src[len(src)-1]|0x20 == 'g' && fold(src[n:], "nothing")
}
