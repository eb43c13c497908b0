package mywire

import (
	"math"
	"strconv"
	"strings"
	"time"

	"holdfast/internal/fault"
)

// clock reads a function that means a moment. All of one statement show the
// same one, as in MySQL, and that of its taking: never that of its delivery.
func (in *insertion) clock(w string) (it item, known bool, err error) {
	it.at = in.s.now.In(in.s.zone)
	call := true // parentheses are needed
	switch w {
	case "now", "sysdate":
		it.kind = itemMoment
	case "current_timestamp", "localtime", "localtimestamp":
		it.kind, call = itemMoment, false
	case "utc_timestamp":
		it.kind, it.at, call = itemMoment, it.at.UTC(), false
	case "curdate":
		it.kind = itemDate
	case "current_date":
		it.kind, call = itemDate, false
	case "curtime":
		it.kind = itemClock
	case "current_time":
		it.kind, call = itemClock, false
	case "from_unixtime":
		it, err = in.fromUnix()
		return it, true, err
	case "unix_timestamp":
		it, err = in.toUnix()
		return it, true, err
	default:
		return it, false, nil
	}
	if !in.punct('(') {
		if call {
			return it, false, nil
		}
		return it, true, nil
	}
	if c := in.at(0); '0' <= c && c <= '6' && it.kind != itemDate {
		it.digits = int(c - '0')
		in.pos++
		in.skip()
	}
	if !in.punct(')') {
		return it, true, in.syntax()
	}
	return it, true, nil
}

// lastUnix is the last second that FROM_UNIXTIME takes: the end of the year 3000,
// as in MySQL 8.
const lastUnix = 32536771199

// fromUnix reads "(n)" behind FROM_UNIXTIME.
func (in *insertion) fromUnix() (it item, err error) {
	if !in.punct('(') {
		return it, in.syntax()
	}
	if c := in.at(0); !isDigit(c) {
		return it, notYet("FROM_UNIXTIME takes a number here", "send the seconds themselves")
	}
	text, err := in.number()
	if err != nil {
		return it, err
	}
	if !in.punct(')') {
		return it, notYet("FROM_UNIXTIME takes one number here", "leave the format out")
	}
	whole, part, _ := strings.Cut(string(text), ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n > lastUnix || strings.ContainsAny(part, "eE") || len(part) > 6 {
		return it, fault.New(fault.DatetimeOutOfRange, "incorrect datetime value: FROM_UNIXTIME(%s)", clip(text))
	}
	micro, _ := strconv.Atoi((part + "000000")[:6]) // digits alone
	it.kind, it.digits, it.at = itemMoment, len(part), time.Unix(n, int64(micro)*1000).In(in.s.zone)
	return it, nil
}

// toUnix reads "()" behind UNIX_TIMESTAMP.
func (in *insertion) toUnix() (it item, err error) {
	if !in.punct('(') || !in.punct(')') {
		return it, notYet("UNIX_TIMESTAMP takes nothing here", "send the seconds themselves")
	}
	return item{kind: itemNumber, text: strconv.AppendInt(nil, in.s.now.Unix(), 10)}, nil
}

// appendTime writes a moment as MySQL shows it, and into a column of moments
// with its offset, so that an hour that comes twice is told apart.
func appendTime(dst []byte, it *item, k kind) []byte {
	fraction := "."[:min(1, it.digits)] + "000000"[:it.digits]
	at := it.at.Truncate(time.Duration(math.Pow10(9 - it.digits)))
	switch it.kind {
	case itemDate:
		return at.AppendFormat(dst, "2006-01-02")
	case itemClock:
		return at.AppendFormat(dst, "15:04:05"+fraction)
	}
	if k == kindZoned {
		if _, offset := at.Zone(); offset%60 != 0 { // as zones had before they were rounded
			at = at.UTC()
		}
		fraction += "-07:00"
	}
	return at.AppendFormat(dst, "2006-01-02 15:04:05"+fraction)
}
