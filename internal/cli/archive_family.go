package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"holdfast/archive/backup"
	"holdfast/internal/config"
	"holdfast/internal/fault"
)

// takesFamily has a verb take the name of a family of the configuration in
// place of --url and --profile.
func (a *archiver) takesFamily(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.config, "config", "", "configuration `file` (HOLDFAST_CONFIG) that names FAMILY, in place of --url and --profile")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return noArgs(cmd, args[1:])
		}
		if len(args) == 1 {
			a.name = args[0]
		}
		return nil
	}
}

// settle fills in what the configuration says of the family that is named.
func (a *archiver) settle(env *Env) error {
	file := first(a.config, env.Getenv("HOLDFAST_CONFIG"))
	switch {
	case a.name == "" && a.config != "":
		return usage("name a family that the file has, like archive plan utm5", "--config is given, and no family")
	case a.name == "":
		return nil
	case a.profile != "" || a.url != "" || a.urlFile != "":
		return usage("the configuration says where family "+a.name+" is", "--profile, --url and --url-file are not for a family that is named")
	case file == "":
		return usage("--config FILE, or --url and --profile in place of the name", "family %q is named, and no configuration", a.name)
	}
	c, err := config.Load(file)
	if err != nil {
		return err
	}
	f := c.Families[a.name]
	if f == nil {
		return usage("it has: "+first(strings.Join(c.FamilyNames(), ", "), "none"), "%q has no family %q", file, a.name)
	}
	a.profile, a.url, a.urlFile, a.backup, a.late = f.Profile, string(f.URL), f.URLFile, f.Backup.Proof(), f.Late
	a.form = f.Archives.Form().Over(a.form)
	a.name, a.config = "", ""
	return nil
}

// proof checks what stands for a backup: what is said, or what the
// configuration names.
func (a *archiver) proof(env *Env, p prover) error {
	if err := a.settle(env); err != nil {
		return err
	}
	proof := backup.Proof{File: p.backup, None: p.none}
	if !proof.Given() {
		proof = a.backup
	}
	if p.backup != "" && p.none {
		return usage("name the file, or say that there is none", "--backup %q and --no-backup contradict each other", p.backup)
	}
	if !proof.Given() && !p.apply { // a plan changes nothing
		return nil
	}
	if !proof.Given() {
		return usage("a full backup, which was seen to restore, comes before every archive", "one of --backup and --no-backup must be given")
	}
	err := proof.Check(env.Context)
	if f := fault.Of(err); err != nil && f.Code == fault.InvalidParameterValue && len(proof.Command) == 0 {
		return usage(f.Hint, "%s", f.Message)
	}
	return err
}
