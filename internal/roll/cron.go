package roll

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cron is a time table: minute, hour, day of month, month and day of week, as
// crontab has them, in local time.
type Cron struct {
	text   string
	fields [5]uint64 // a bit for each number that fits
	either bool      // both days are restricted: one of them is enough
}

// cronFields are the ranges of the fields. Sunday is 0, and 7.
var cronFields = []struct {
	what      string
	low, high int
}{{"minute", 0, 59}, {"hour", 0, 23}, {"day of month", 1, 31}, {"month", 1, 12}, {"day of week", 0, 7}}

const cronHint = `write minute, hour, day of month, month and day of week, like "10 3 1 * *"; numbers, ranges (1-5), lists (1,15) and steps (*/5)`

// ParseCron reads a cron expression.
func ParseCron(text string) (Cron, error) {
	parts := strings.Fields(text)
	c := Cron{text: strings.Join(parts, " ")}
	if len(parts) != len(cronFields) || len(text) > maxMessage {
		return Cron{}, wrong("cron expression %q does not have 5 fields", text).WithHint(cronHint)
	}
	for i, part := range parts {
		f := cronFields[i]
		for one := range strings.SplitSeq(part, ",") {
			low, high, step, ok := cronRange(one, f.low, f.high)
			if !ok {
				return Cron{}, wrong("%s %q of cron expression %q is not from %d to %d", f.what, one, text, f.low, f.high).WithHint(cronHint)
			}
			for n := low; n <= high; n += step {
				c.fields[i] |= 1 << n
			}
		}
	}
	c.fields[4] |= c.fields[4] >> 7 & 1
	c.either = !strings.HasPrefix(parts[2], "*") && !strings.HasPrefix(parts[4], "*")
	if c.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Cron{}, wrong("cron expression %q never comes", text).WithHint("there is no such day in such a month")
	}
	return c, nil
}

// cronRange reads *, n and n-m, each with /step behind it.
func cronRange(text string, low, high int) (from, to, step int, ok bool) {
	text, every, stepped := strings.Cut(text, "/")
	step = 1
	if stepped {
		n, err := strconv.Atoi(every)
		if err != nil || n < 1 || n > high {
			return 0, 0, 0, false
		}
		step = n
	}
	if text == "*" {
		return low, high, step, true
	}
	first, last, ranged := strings.Cut(text, "-")
	from, err := strconv.Atoi(first)
	to = from
	if stepped {
		to = high
	}
	if err == nil && ranged {
		to, err = strconv.Atoi(last)
	}
	return from, to, step, err == nil && from >= low && to <= high && from <= to
}

// cronYears is how far Next looks: a 29th of February may be eight years away.
const cronYears = 9

// Next returns the first time behind after; zero where there is none. A time
// that a zone leaves out is not made up for.
func (c Cron) Next(after time.Time) time.Time {
	t := after.Truncate(time.Minute).Add(time.Minute)
	has := func(field, n int) bool { return c.fields[field]>>n&1 == 1 }
	for end := t.AddDate(cronYears, 0, 0); t.Before(end); {
		day, week := has(2, t.Day()), has(4, int(t.Weekday()))
		fits := day && week || c.either && (day || week)
		switch {
		case !has(3, int(t.Month())) || !fits:
			t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, t.Location())
		case !has(1, t.Hour()):
			t = t.Add(time.Duration(60-t.Minute()) * time.Minute)
		case !has(0, t.Minute()):
			t = t.Add(time.Minute)
		default:
			return t
		}
	}
	return time.Time{}
}

// String returns the expression.
func (c Cron) String() string { return c.text }

// Job is a message that is sent again and again.
type Job struct {
	Every   time.Duration // 0: by Cron
	Cron    Cron
	Message Message
}

// Next returns when the job is to be done next, after it was at that time.
func (j Job) Next(after time.Time) time.Time {
	if j.Every > 0 {
		return after.Add(j.Every)
	}
	return j.Cron.Next(after)
}

// String returns when and what.
func (j Job) String() string {
	if j.Every > 0 {
		return fmt.Sprintf("every %v: %s", j.Every, j.Message)
	}
	return fmt.Sprintf("cron %s: %s", j.Cron, j.Message)
}

// ParseJob reads a scheduler line of the manual, or cron="..." run="...".
func ParseJob(line string) (Job, error) {
	if !strings.HasPrefix(strings.TrimSpace(line), "cron=") {
		e, err := ParseEntry(line)
		return Job{Every: e.Every, Message: e.Message}, err
	}
	all, err := pairs(line)
	if err != nil {
		return Job{}, err
	}
	var cron, run string
	for _, p := range all {
		switch p.key {
		case "cron":
			cron = p.value
		case "run":
			run = p.value
		default:
			return Job{}, wrong("a scheduled job has no key %q", p.key).WithHint(`write cron="10 3 * * *" run="roll size --max-size 25TB"`)
		}
	}
	return CronJob(cron, run)
}

// CronJob reads a cron expression and the verb that it runs.
func CronJob(cron, run string) (Job, error) {
	c, err := ParseCron(cron)
	if err != nil {
		return Job{}, err
	}
	m, err := ParseRun(run)
	return Job{Cron: c, Message: m}, err
}

// runFlags are the verbs' flags, and what a message calls them.
var runFlags = map[string]string{
	"--type": "type", "--max-size": "maxSize", "--max-percent": "maxPercent", "--min-free": "minFree", "--max-size-warm": "maxSizeWarm",
	"--days": "days", "--hours": "hours", "--minutes": "minutes", "--date": "date", "--by": "by",
}

// ParseRun reads a verb as it is typed: roll size --type a,b --max-size 25TB.
func ParseRun(run string) (Message, error) {
	const hint = "write roll size --type a,b --max-size 25TB, or roll time --days 7"
	words := strings.Fields(run)
	if len(words) < 2 || words[0] != "roll" || words[1] != "size" && words[1] != "time" {
		return Message{}, wrong("%q cannot be scheduled", run).WithHint("roll size, roll time and archive run can; " + hint)
	}
	name := map[string]string{"size": sizeRoll, "time": timeRoll}[words[1]]
	node, params := Database, []string{}
	for words = words[2:]; len(words) > 0; words = words[1:] {
		flag, value, given := strings.Cut(words[0], "=")
		if flag == "--apply" {
			continue // scheduled messages act
		}
		if !given && len(words) > 1 {
			words = words[1:]
			value = words[0]
		}
		key := runFlags[flag]
		switch {
		case flag == "--node":
			node = Node(value)
		case key == "" || value == "":
			return Message{}, wrong("%q of %q is not known", flag, run).WithHint(hint)
		default:
			params = append(params, Param(key, value))
		}
	}
	return ParseMessage(string(node), name, strings.Join(params, " "))
}

// Param returns a parameter as a message has it. An age by row-time is one by
// row.
func Param(key, value string) string {
	if key == "by" {
		value = strings.TrimSuffix(value, "-time")
	}
	return key + "=" + quote(value)
}

// Types returns the streams that the message names; none: all.
func (m Message) Types() []string {
	switch {
	case m.Size != nil:
		return slices.Clone(m.Size.Types)
	case m.Time != nil:
		return slices.Clone(m.Time.Types)
	}
	return nil
}
