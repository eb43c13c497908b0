package roll

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Entry is a message that is sent again and again.
type Entry struct {
	Every   time.Duration
	Message Message
}

// maxEvery bounds the interval of an entry: a slip of the hand would otherwise
// never run.
const maxEvery = 366 * 24 * time.Hour

const entryHint = `write it like pathname=/index minutes=5 msg=sizeRoll params="type=meta,session maxSize=25TB"`

// ParseEntry reads a scheduler line of the manual, whose keys may stand in any
// order:
//
//	pathname=/index minutes=5 msg=sizeRoll params="type=meta,session,packet maxSize=25TB maxSizeWarm=150TB"
//
// The command that added it (addInter, or addIter as some examples have it) may
// stand in front.
func ParseEntry(line string) (Entry, error) {
	if len(line) > 2*maxMessage {
		return Entry{}, wrong("the entry is %d bytes long", len(line)).WithHint("write up to %d", 2*maxMessage)
	}
	line = strings.TrimSpace(line)
	if word, rest, _ := strings.Cut(line, " "); word == "addInter" || word == "addIter" {
		line = rest
	} else if word == "addMil" {
		return Entry{}, wrong("addMil is not known here").WithHint("write a time of day as a cron expression: {cron: ..., run: ...}")
	}
	all, err := pairs(line)
	if err != nil {
		return Entry{}, err
	}
	var e Entry
	var node, name, params string
	err = each(all, func(key, value string) (err error) {
		switch key {
		case "pathname":
			node = value
		case "msg":
			name = value
		case "params":
			params = value
		case "hours":
			err = e.add(key, value, time.Hour)
		case "minutes":
			err = e.add(key, value, time.Minute)
		case "seconds":
			err = e.add(key, value, time.Second)
		case "type":
			err = wrong("type stands beside params").WithHint("put all parameters of the message in quotes: " + entryHint)
		default:
			err = wrong("a scheduler entry has no key %q", key).WithHint(entryHint)
		}
		return err
	})
	switch {
	case err != nil:
		return Entry{}, err
	case node == "" || name == "":
		return Entry{}, wrong("the entry names no pathname or no msg").WithHint(entryHint)
	case e.Every == 0:
		return Entry{}, wrong("the entry does not say how often").WithHint("give it hours, minutes or seconds, which add up to more than nothing")
	}
	e.Message, err = ParseMessage(node, name, params)
	return e, err
}

// add adds n of a unit to the interval.
func (e *Entry) add(key, value string, unit time.Duration) error {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || time.Duration(n) > maxEvery/unit || e.Every+time.Duration(n)*unit > maxEvery {
		return wrong("%s %q is not a whole number, or too large", key, value).WithHint("the longest interval is 366 days")
	}
	e.Every += time.Duration(n) * unit
	return nil
}

// String returns a form that ParseEntry reads.
func (e Entry) String() string {
	unit, n := "seconds", e.Every/time.Second
	switch {
	case e.Every%time.Hour == 0:
		unit, n = "hours", e.Every/time.Hour
	case e.Every%time.Minute == 0:
		unit, n = "minutes", e.Every/time.Minute
	}
	return fmt.Sprintf("pathname=%s %s=%d msg=%s params=%s", e.Message.Node, unit, n, e.Message.Name(), quote(e.Message.Params()))
}
