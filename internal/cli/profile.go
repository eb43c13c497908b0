package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdfast/internal/profile"
)

func newProfile(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "profile list|kamailio",
		Short:   "show ready tables, or derive those of one site",
		Example: "  holdfast profile list\n  holdfast profile kamailio --cfg /etc/kamailio/kamailio.cfg",
	}
	group(cmd)
	cmd.AddCommand(newProfileList(env), newProfileKamailio(env))
	return cmd
}

func newProfileList(env *Env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list [--json]",
		Short:   "list the profiles that there are",
		Example: "  holdfast profile list",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			for _, name := range profile.Names() {
				p, err := profile.Load(name)
				if err != nil {
					return err
				}
				if asJSON {
					err = json.NewEncoder(env.Stdout).Encode(p)
				} else {
					_, err = fmt.Fprintf(env.Stdout, "%s\t%s\n", p.Name, p.About)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object per profile, with its tables")
	return cmd
}

func newProfileKamailio(env *Env) *cobra.Command {
	var cfg, zone string
	var defines []string
	cmd := &cobra.Command{
		Use:   "kamailio [--cfg FILE] [--define NAME[=VALUE]]... [--zone ZONE]",
		Short: "print the tables of Kamailio's acc module as they stand in the configuration",
		Long: `kamailio prints the tables acc, missed_calls and acc_cdrs for the configuration.
With --cfg it reads the kamailio.cfg of a site, and what that includes, and adds
the columns of db_extra, multi_leg_info, cdr_extra and time_mode, under the names
that the site gives to tables and columns. What it does not understand is an error
with file, line and text: it never guesses. Give it the same definitions as
kamailio -A.

Kamailio writes times as its machine's clock shows them, without a zone. --zone
names the zone of that clock; it is this machine's where it is left out.`,
		Example: "  holdfast profile kamailio --cfg /etc/kamailio/kamailio.cfg --define WITH_PG >> holdfast.yaml",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if cfg == "" && len(defines) > 0 {
				return usage("name the configuration with --cfg", "--define has nothing to define it for")
			}
			p, err := profileOf(cfg, defines)
			if err != nil {
				return err
			}
			if zone == "" {
				zone = machineZone()
			}
			if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
				return usage("name it like Europe/Vienna, or UTC", "time zone %q is not known", zone)
			}
			return p.WriteConfig(env.Stdout, zone)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg, "cfg", "", "the site's kamailio.cfg, a `file`")
	f.StringVar(&zone, "zone", "", "the `zone` of the clock that Kamailio goes by")
	f.StringArrayVar(&defines, "define", nil, "what kamailio -A defines, a `name` or name=value")
	return cmd
}

// machineZone returns the name of this machine's time zone; UTC where it has
// none.
func machineZone() string {
	zone, ok := os.LookupEnv("TZ")
	if !ok {
		file, _ := filepath.EvalSymlinks("/etc/localtime")
		_, zone, _ = strings.Cut(file, "/zoneinfo/")
	}
	zone = strings.TrimPrefix(zone, ":")
	if _, err := time.LoadLocation(zone); err != nil || zone == "" || zone == "Local" {
		return "UTC"
	}
	return zone
}

// profileOf is Kamailio's profile, or that of a site.
func profileOf(cfg string, defines []string) (*profile.Profile, error) {
	if cfg == "" {
		return profile.Load("kamailio")
	}
	f, err := os.Open(cfg)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	k := profile.Kamailio{Name: cfg, Config: f, Defines: map[string]string{}, Open: func(name string) (io.ReadCloser, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(cfg), name)
		}
		return os.Open(name)
	}}
	for _, d := range defines {
		name, value, _ := strings.Cut(d, "=")
		k.Defines[name] = value
	}
	return profile.FromKamailio(k)
}
