module vidette.dev/go

go 1.24
