module git.example.com/team/app

go 1.23

require git.example.com/team/lib v1.2.0
