#!/bin/sh
# CloudFormation's rule for a stack's name, told before there is half a project.
case '{{ cookiecutter.project_name }}' in
    [!A-Za-z]* | *[!A-Za-z0-9-]*)
        echo "project_name: a letter, then letters, digits and hyphens: '{{ cookiecutter.project_name }}' is no name of a stack" >&2
        exit 1
        ;;
esac
