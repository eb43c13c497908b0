package roll

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Node is where a message is sent.
type Node string

// The nodes. A message to Database is about streams and never about their
// indexes; one to Index about the indexes, and about the streams that it names.
const (
	Database Node = "/database"
	Index    Node = "/index"
)

// The messages.
const (
	sizeRoll = "sizeRoll"
	timeRoll = "timeRoll"
)

// Message is a sizeRoll or a timeRoll to a node.
type Message struct {
	Node Node
	Size *SizeRoll // one of the two is set
	Time *TimeRoll
}

// SizeRoll asks that the oldest leave until a limit holds. One of MaxSize,
// MinFree and MaxPercent is set.
type SizeRoll struct {
	Types       []string // streams, in the order given; none: what the node takes by itself
	MaxSize     Size     // of all that are rolled together, in the hot tier
	MinFree     Size     // on each of their volumes
	MaxPercent  float64  // of the summed capacity of their volumes
	MaxSizeWarm Size     // of all that are rolled together, in the warm tier; 0: the warm tier is left alone
}

// TimeRoll asks that what is older than Age, or from before Date, leave.
type TimeRoll struct {
	Types []string
	Age   time.Duration
	Date  time.Time // zero where Age is set
	ByRow bool      // by the newest row of a segment; otherwise by its file time
}

// ParseMessage reads a message's name and parameters, as sent to a node.
func ParseMessage(node, name, params string) (Message, error) {
	m := Message{Node: Node(node)}
	if m.Node != Database && m.Node != Index {
		return Message{}, wrong("node %q takes no roll", node).WithHint("send it to %s or %s", Database, Index)
	}
	all, err := pairs(params)
	if err != nil {
		return Message{}, err
	}
	switch name {
	case sizeRoll:
		m.Size, err = parseSizeRoll(all)
	case timeRoll:
		m.Time, err = parseTimeRoll(all)
	default:
		return Message{}, wrong("message %q is not known", name).WithHint("send %s or %s", sizeRoll, timeRoll)
	}
	if err != nil {
		return Message{}, err
	}
	return m, nil
}

func parseSizeRoll(all []pair) (*SizeRoll, error) {
	var r SizeRoll
	err := each(all, func(key, value string) (err error) {
		switch key {
		case "type":
			r.Types, err = parseTypes(r.Types, value)
		case "maxSize":
			r.MaxSize, err = positive(value)
		case "minFree":
			r.MinFree, err = positive(value)
		case "maxPercent":
			r.MaxPercent, err = parsePercent(value)
		case "maxSizeWarm":
			r.MaxSizeWarm, err = positive(value)
		default:
			err = unknown(sizeRoll, key, "type", "maxSize", "minFree", "maxPercent", "maxSizeWarm")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	given := 0
	for _, is := range []bool{r.MaxSize > 0, r.MinFree > 0, r.MaxPercent > 0} {
		if is {
			given++
		}
	}
	if given != 1 {
		return nil, wrong("%s has %d of maxSize, minFree and maxPercent", sizeRoll, given).WithHint("give it exactly one; maxSizeWarm may stand beside it")
	}
	return &r, nil
}

// maxDays bounds an age: it is longer than any file has been kept.
const maxDays = 36500

func parseTimeRoll(all []pair) (*TimeRoll, error) {
	var r TimeRoll
	err := each(all, func(key, value string) (err error) {
		switch key {
		case "type":
			r.Types, err = parseTypes(r.Types, value)
		case "days", "hours", "minutes", "seconds":
			err = r.add(key, value)
		case "date":
			r.Date, err = parseDate(value)
		case "by":
			r.ByRow = value == "row"
			if value != "row" && value != "file" {
				err = wrong("by %q is neither file nor row", value).WithHint("by=file goes by a file's own time, by=row by its newest row")
			}
		default:
			err = unknown(timeRoll, key, "type", "days", "hours", "minutes", "seconds", "date", "by")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if (r.Age > 0) == !r.Date.IsZero() {
		return nil, wrong("%s says neither or both of how old and since when", timeRoll).WithHint("give it days, hours and minutes, which add up to more than nothing, or a date")
	}
	return &r, nil
}

// ageUnits are the units of an age, the largest first.
var ageUnits = []struct {
	name string
	is   time.Duration
}{{"days", 24 * time.Hour}, {"hours", time.Hour}, {"minutes", time.Minute}, {"seconds", time.Second}}

// add adds n of a unit to the age.
func (r *TimeRoll) add(key, value string) error {
	var unit time.Duration
	for _, u := range ageUnits {
		if u.name == key {
			unit = u.is
		}
	}
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || time.Duration(n) > maxDays*24*time.Hour/unit || r.Age+time.Duration(n)*unit > maxDays*24*time.Hour {
		return wrong("%s %q is not a whole number, or too large", key, value).WithHint("an age is at most %d days", maxDays)
	}
	r.Age += time.Duration(n) * unit
	return nil
}

// dateForms are the forms of a date; without a zone it is in UTC.
var dateForms = []string{time.DateOnly, time.DateTime, time.RFC3339}

func parseDate(value string) (time.Time, error) {
	for _, form := range dateForms {
		if t, err := time.Parse(form, value); err == nil && t.Year() >= 1970 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, wrong("date %q is not one since 1970", value).WithHint(`write date=2026-01-31 or date="2026-01-31 12:00:00", in UTC`)
}

// each calls f for each pair. Only type may come twice: the manual's grammar
// lets it, and its flags add up.
func each(all []pair, f func(key, value string) error) error {
	seen := map[string]bool{}
	for _, p := range all {
		if seen[p.key] && p.key != "type" {
			return wrong("%s is given twice", p.key).WithHint("give it once")
		}
		seen[p.key] = true
		if err := f(p.key, p.value); err != nil {
			return err
		}
	}
	return nil
}

// parseTypes adds the flags in a comma list to types.
func parseTypes(types []string, list string) ([]string, error) {
	for name := range strings.SplitSeq(list, ",") {
		if name == "" || strings.ContainsAny(name, blanks+`"\=`) {
			return nil, wrong("type %q is not a list of streams", list).WithHint("write their names with commas and without blanks, like type=meta,session,packet")
		}
		if !slices.Contains(types, name) {
			types = append(types, name)
		}
	}
	return types, nil
}

// parsePercent reads a percentage. The manual's grammar asks for a size unit
// behind it, and has a rule for percentages that it never uses: both are slips.
func parsePercent(text string) (float64, error) {
	number, unit := splitNumber(strings.TrimSpace(text))
	if _, err := ParseSize(text); err == nil {
		return 0, wrong("maxPercent %q has the size unit %q, and a percentage takes none", text, strings.TrimSpace(unit)).
			WithHint("write maxPercent=%s; the manual's grammar has a unit there by mistake", number)
	}
	p, err := strconv.ParseFloat(number, 64)
	if err != nil || unit != "" || math.IsInf(p, 0) || p <= 0 || p > 100 {
		return 0, wrong("maxPercent %q is not a percentage", text).WithHint("write a number above 0 and up to 100 without a unit, like maxPercent=85")
	}
	return p, nil
}

func unknown(name, key string, keys ...string) error {
	return wrong("%s has no parameter %q", name, key).WithHint("it has %s", strings.Join(keys, ", "))
}

// Params returns the parameters in a form that ParseMessage reads.
func (m Message) Params() string {
	var parts []string
	add := func(key, value string) { parts = append(parts, key+"="+quote(value)) }
	types := func(list []string) {
		if len(list) > 0 {
			add("type", strings.Join(list, ","))
		}
	}
	sizes := func(key string, s Size) {
		if s > 0 {
			add(key, strings.ReplaceAll(s.String(), " ", ""))
		}
	}
	if r := m.Size; r != nil {
		types(r.Types)
		sizes("maxSize", r.MaxSize)
		sizes("minFree", r.MinFree)
		if r.MaxPercent > 0 {
			add("maxPercent", strconv.FormatFloat(r.MaxPercent, 'f', -1, 64))
		}
		sizes("maxSizeWarm", r.MaxSizeWarm)
	}
	if r := m.Time; r != nil {
		types(r.Types)
		if r.Age > 0 {
			rest := r.Age
			for _, u := range ageUnits {
				if n := rest / u.is; n > 0 {
					add(u.name, strconv.FormatInt(int64(n), 10))
					rest -= n * u.is
				}
			}
		} else {
			add("date", r.Date.Format(time.RFC3339))
		}
		if r.ByRow {
			add("by", "row")
		}
	}
	return strings.Join(parts, " ")
}

// Name returns what the message is called.
func (m Message) Name() string {
	if m.Size != nil {
		return sizeRoll
	}
	return timeRoll
}

// String returns the message as one line.
func (m Message) String() string { return fmt.Sprintf("%s %s %s", m.Node, m.Name(), m.Params()) }
