package config

import (
	"time"
	_ "time/tzdata" // so that zones are known on machines that have no list of them
)

// TimeZone is a time zone by the name that the tz database has for it.
type TimeZone string

// defaultZone is that of a PostgreSQL server that was not told another.
const defaultZone TimeZone = "UTC"

// Location returns the zone.
func (z TimeZone) Location() *time.Location {
	l, err := time.LoadLocation(string(z))
	if err != nil {
		return time.UTC // scan lets only known names through
	}
	return l
}

func (z *TimeZone) scan(text string) error {
	if _, err := time.LoadLocation(text); err != nil || text == "" || text == "Local" {
		return wrong(`name it like "Europe/Vienna", or "UTC"`, "time zone %q is not known", text)
	}
	*z = TimeZone(text)
	return nil
}

func (*TimeZone) shape() map[string]any {
	return map[string]any{"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_+/-]*$"}
}

// Times says how moments are written in flat files.
type Times string

// TimesZoned writes them with their zone, TimesClock as their writer's clock
// showed them, TimesEpoch as seconds since 1970.
const (
	TimesZoned Times = "zoned"
	TimesClock Times = "clock"
	TimesEpoch Times = "epoch"
)

func (t *Times) scan(text string) error {
	err := pick("times", text, allTimes)
	if err == nil {
		*t = Times(text)
	}
	return err
}

func (*Times) shape() map[string]any { return enum(allTimes) }

var allTimes = []string{string(TimesZoned), string(TimesClock), string(TimesEpoch)}
